"""Tests of the configuration's sources."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.config.files import callback_keys
from natsconnector.config.reading import ConfigurationError, read
from natsconnector.config.settings import FLAGS, Settings


class ReadTests(SynchronousTestCase):
    """Flags, environment, aliases, defaults."""

    def read(self, flags: Mapping[str, str | None] | None = None, /, **environment: str) -> Settings:
        return read(flags or {}, environment)

    def faults(self, flags: Mapping[str, str | None] | None = None, /, **environment: str) -> list[str]:
        faults: list[str] = self.assertRaises(ConfigurationError, self.read, flags, **environment).faults
        return faults

    def test_credentials_in_our_own_way(self) -> None:
        """basic_auth without a folder is warned of, but not when a flag names the folder."""
        self.assertEqual(len(self.read(basic_auth="true").warnings), 1)
        folder = self.mktemp()
        os.mkdir(folder)
        for name in ("basic-auth-user", "basic-auth-password"):
            with open(os.path.join(folder, name), "w") as file:
                file.write("x")
        self.assertEqual(self.read({"gateway-credentials": folder}, basic_auth="true").warnings, ())

    def test_defaults(self) -> None:
        """The documented defaults."""
        settings = self.read()
        expected: dict[str, Any] = {
            "nats": ("nats://127.0.0.1:4222",),
            "gateway": "http://127.0.0.1:8080",
            "subjects": ("function.call",),
            "queue_group": "functions",
            "callback_allow": None,
            "allow_function": None,
            "timeout_s": 60,
            "max_wait_s": None,
            "max_inflight": 100,
            "max_pending_messages": 65536,
            "max_pending_bytes": 64 << 20,
            "max_response_bytes": 8 << 20,
            "retry_attempts": 3,
            "retry_codes": (429, 503),
            "retry_wait_s": 0.5,
            "retry_max_wait_s": 120,
            "retry_backoff": "full",
            "shutdown_timeout_s": 25,
            "print_response": False,
            "print_response_body": False,
            "print_request_body": False,
            "log_format": "console",
            "log_level": "info",
            "embedded": False,
            "functions": None,
            "warnings": (),
        }
        self.assertEqual({name: getattr(settings, name) for name in expected}, expected)

    def test_precedence(self) -> None:
        """Flag, then our own name, then the alias, then the default."""
        environment = {"NATSCONNECTOR_TIMEOUT": "2s", "upstream_timeout": "3s"}
        self.assertEqual(self.read({"timeout": "1s"}, **environment).timeout_s, 1)
        self.assertEqual(self.read(**environment).timeout_s, 2)
        self.assertEqual(self.read(upstream_timeout="3s").timeout_s, 3)

    def test_empty_is_unset(self) -> None:
        """An empty value counts as none at all, in each source."""
        settings = self.read({"timeout": ""}, NATSCONNECTOR_TIMEOUT=" ", upstream_timeout="3s")
        self.assertEqual(settings.timeout_s, 3)

    def test_none_turns_off(self) -> None:
        """What can be off is turned off by the word none; what cannot, complains."""
        self.assertIsNone(self.read({"max-wait": "none"}).max_wait_s)
        self.assertEqual(len(self.faults({"timeout": "none"})), 1)

    def test_aliases(self) -> None:
        """Names that deployments of the existing connectors use."""
        for name, value, attribute, expected in [
            ("NATS_URL", "nats://n:1", "nats", ("nats://n:1",)),
            ("NATS_HOST", "nats://nats:4222", "nats", ("nats://nats:4222",)),
            ("broker_host", "nats", "nats", ("nats",)),
            ("GATEWAY_URL", "gw:1", "gateway", "http://gw:1"),
            ("gateway_url", "http://gw/", "gateway", "http://gw"),
            ("FAAS_GATEWAY", "gw:8080", "gateway", "http://gw:8080"),
            ("FAAS_HOST", "http://faas:8080", "gateway", "http://faas:8080"),
            ("FAAS_HOSt", "http://faas:8080", "gateway", "http://faas:8080"),
            ("upstream_timeout", "1m30s", "timeout_s", 90),
            ("max_inflight", "7", "max_inflight", 7),
            ("max_retry_attempts", "7", "retry_attempts", 7),
            ("retry_http_codes", "429, 500", "retry_codes", (429, 500)),
            ("initial_retry_wait", "1s", "retry_wait_s", 1),
            ("max_retry_wait", "9s", "retry_max_wait_s", 9),
            ("backoff", "equal", "retry_backoff", "equal"),
            ("print_response", "true", "print_response", True),
            ("print_response_body", "1", "print_response_body", True),
            ("print_request_body", "yes", "print_request_body", True),
            ("log_encoding", "json", "log_format", "json"),
            ("debug", "true", "log_level", "debug"),
            ("debug", "false", "log_level", "info"),
        ]:
            settings = self.read(**{name: value})
            self.assertEqual(getattr(settings, attribute), expected, name)
            self.assertEqual(settings.warnings, ())

    def test_aliases_that_disagree(self) -> None:
        """The first in order counts, and a warning says so; our own name silences it."""
        settings = self.read(NATS_HOST="nats://b", NATS_URL="nats://a")
        self.assertEqual(settings.nats, ("nats://a",))
        self.assertEqual(settings.warnings, ("NATS_URL and NATS_HOST disagree: NATS_URL counts",))
        self.assertEqual(self.read(NATS_HOST="nats://a", NATS_URL="nats://a").warnings, ())
        self.assertEqual(self.read({"nats": "nats://c"}, NATS_HOST="nats://b", NATS_URL="nats://a").warnings, ())

    def test_all_faults_together(self) -> None:
        """Everything that is wrong is told at once, under the name the user wrote."""
        faults = self.faults(
            {"timeout": "30", "nats": "http://n"},
            NATSCONNECTOR_MAX_INFLIGHT="0",
            gateway_url="ftp://gw",
            debug="maybe",
        )
        self.assertEqual(
            [fault.split(":")[0] for fault in faults],
            ["--nats", "gateway_url", "--timeout", "NATSCONNECTOR_MAX_INFLIGHT", "debug"],
        )
        self.assertIn("'30' is not a duration like", faults[2])
        self.assertIn("'0' is not between 1 and", faults[3])

    def test_settings_that_exclude_each_other(self) -> None:
        """Faults of two settings name both."""
        faults = self.faults({"retry-wait": "10s"}, max_retry_wait="5s")
        self.assertEqual(faults, ["--retry-wait (10s) is longer than max_retry_wait (5s)"])
        self.assertIn("--embedded", self.faults({"functions": "stack.yml"})[0])
        self.assertIn("--embedded", self.faults({"embedded": "on", "nats": "nats://elsewhere"})[0])

    def test_subjects(self) -> None:
        """Subjects are checked before anything is connected; NATS's own are never heard."""
        self.assertEqual(self.read({"subject": "a.b, c.*"}).subjects, ("a.b", "c.*"))
        for bad in ("a b", "a..b", ".a", "a.>.b", "_INBOX.>", "_INBOX.x", "$JS.API.>", "$SYS.>", ">", "*.x"):
            self.assertEqual(len(self.faults({"subject": bad})), 1, bad)

    def test_function_subjects(self) -> None:
        """One or two wildcards name the function; with them, as with topics, envelopes come only where it is said."""
        settings = self.read({"function-subject": "fn.*, faas.*.call,x.*.*"})
        self.assertEqual((settings.function_subjects, settings.subjects), (("fn.*", "faas.*.call", "x.*.*"), None))
        settings = self.read({"function-subject": "fn.*", "subject": "function.call", "topics": "t"})
        self.assertEqual(settings.sources, ("function.call", "fn.*", "t"))
        for bad in ("fn", "fn.>", "fn.*.>", "*.*.*.*", "fn.a*"):
            (fault,) = self.faults({"function-subject": bad})
            self.assertTrue(fault.startswith("--function-subject"), fault)
        self.read({"function-subject": "fn.*", "async": "on", "content-type": "a/b", "queue-group": "g"})

    def test_function_subjects_that_overlap(self) -> None:
        """Each message has one meaning; nothing of NATS's own, or of ours, is heard."""
        for flags, says in [
            ({"subject": "fn.call"}, "--subject fn.call and --function-subject fn.* overlap"),
            ({"topics": "fn.>"}, "--function-subject fn.* and --topics fn.> overlap: messages would come twice"),
            ({"function-subject": "a.*.x,a.y.*"}, "--function-subject a.*.x and --function-subject a.y.* overlap"),
            ({"dead-letter": "fn.dead"}, "hear its own dead letters on fn.*"),
            ({"function-subject": "*.*"}, "would hear _INBOX.>"),
            ({"function-subject": "in.*", "inbox-prefix": "in"}, "would hear in.>"),
        ]:
            (fault,) = self.faults({"function-subject": "fn.*", **flags})
            self.assertIn(says, fault)
        self.read({"function-subject": "fn.*,fn.*.*", "topics": "fn", "dead-letter": "dead"})

    def test_reply_subject_for(self) -> None:
        """Replies go where somebody else listens, for messages that come."""
        (mapping,) = self.read({"reply-subject-for": "function.call = answers"}).reply_subject_for or ()
        self.assertEqual(mapping.target_of("function.call"), "answers")
        fn = {"function-subject": "fn.*", "dead-letter": "dead", "inbox-prefix": "in"}
        for text, says in [
            ("fn.*", "is not FROM=TO"),
            ("fn.*=a.$2", "there are 1 wildcards"),
            ("fn.*=fn.$1", "--reply-subject-for fn.*=fn.$1: the connector itself listens on fn.*"),
            ("fn.*=$1", "puts dead letters on dead"),
            ("fn.*=in.x", "gets replies on in.>"),
            ("gn.*=a", "the connector does not listen on gn.*"),
            ("gn.*=a,fn.*=b.*", "an item, number 2, that maps to 'b.*', which has wildcards"),
        ]:
            (fault,) = self.faults({**fn, "reply-subject-for": text})
            self.assertIn(says, fault)
        self.read({"topics-from-annotations": "on", "reply-subject-for": "gn.*=a"})
        self.read({**fn, "reply-subject-for": "fn.*=a.$1,fn.x=b"})

    def test_secrets_are_not_repeated(self) -> None:
        """No fault and no repr shows what stands in a URL."""
        faults = self.faults({"nats": "nats://u:pa55@h:x,http://u:pa55@h", "gateway": "http://admin:pa55@gw"})
        self.assertEqual(len(faults), 2)
        self.assertNotIn("pa55", " ".join(faults))
        settings = self.read({"nats": "nats://u:pa55@h"})
        self.assertNotIn("pa55", repr(settings))
        self.assertEqual(settings.given, ("--nats",))

    def test_names_of_the_nats_tool(self) -> None:
        """Its environment is understood; ours counts before it, as a whole."""
        settings = self.read(NATS_URL="nats://n", NATS_USER="me", NATS_PASSWORD="pa55", NATS_CONTEXT="ctx")
        self.assertEqual((settings.nats_user, settings.nats_password), ("me", "pa55"))
        self.assertNotIn("pa55", repr(settings) + " ".join(settings.given))
        self.assertIn("NATS_CONTEXT is set, and has no effect", settings.warnings[0])
        self.assertEqual(self.read(NATS_TOKEN="t0ken").nats_token, "t0ken")
        folder = self.mktemp()
        os.mkdir(folder)
        token = os.path.join(folder, "token")
        with open(token, "w") as file:
            file.write("t")
        settings = self.read({"nats-token-file": token}, NATS_USER="me", NATS_PASSWORD="pa55")
        self.assertEqual((settings.nats_user, settings.nats_password), (None, None))
        self.assertEqual(self.faults(NATS_USER="me"), ["NATS_USER needs --nats-password-file"])
        self.assertEqual(self.faults(NATS_PASSWORD="pa55"), ["NATS_PASSWORD needs --nats-user"])
        self.assertIn("exclude each other", self.faults(NATS_TOKEN="t", NATS_USER="me", NATS_PASSWORD="pa55")[0])

    def test_idle_settings(self) -> None:
        """What does nothing beside the other settings is refused under our own name, not under those of others."""
        for flag, value, needs in [
            ("consumer", "c", "--stream"), ("ack-wait", "5s", "--stream"), ("js-domain", "d", "--stream"),
            ("deliver", "new", "--stream"), ("update-consumer", "on", "--stream"), ("async", "on", "topics or --f"),
            ("content-type", "a/b", "topics or --f"), ("topic-delimiter", ";", "topics"),
            ("topic-queue-group", "g", "topics"), ("rebuild-interval", "1s", "a list of functions"),
        ]:  # fmt: skip
            (fault,) = self.faults({flag: value})
            self.assertTrue(fault.startswith(f"--{flag} needs "), fault)
            self.assertIn(needs, fault)
        stream = {"stream": "S", "dead-letter": "none"}
        for flag, value in (("max-wait", "1s"), ("queue-group", "g")):
            self.assertIn("with --stream it does nothing", self.faults({flag: value, **stream})[0])
        self.read(ack_wait="5s", rebuild_interval="1s", content_type="a/b", asynchronous_invocation="true")
        self.read({"consumer": "c", "ack-wait": "5s", **stream})
        self.assertEqual(self.faults(NATSCONNECTOR_ACK_WAIT="5s")[0].split()[0], "NATSCONNECTOR_ACK_WAIT")
        self.assertEqual(len(self.faults({"stream": "a b", "ack-wait": "5s", "timeout": "x"})), 2)
        self.assertEqual(len(self.faults({"ack-wait": "5s", "timeout": "x"})), 2)
        self.assertEqual(read({"js-domain": "hub"}, {}, is_whole=False).js_domain, "hub")

    def test_results(self) -> None:
        """Callbacks need a port, an address and keys; none of these means anything alone."""
        path = self.mktemp()
        good = {"callback-listen": "tcp:8082", "callback-address": "connector:8082", "callback-key-file": path}
        for text, says in (
            ("", "has no key in it"),
            ("\n\n", "has no key in it"),
            ("s3cret", "fewer than 32"),
            (f"{'k' * 32}\ns3cret\n", "fewer than 32"),
            ("k" * 5000, "more than 4096"),
        ):
            with open(path, "w") as file:
                file.write(text)
            (fault,) = self.faults(good)
            self.assertIn(says, fault)
            self.assertNotIn("s3cret", fault)
        with open(path, "w") as file:
            file.write(f" {'k' * 32} \n\n{'o' * 40}\n")
        settings = self.read({**good, "reply-allow": "results.>"})
        self.assertEqual(settings.callback_address, "http://connector:8082")
        self.assertEqual(settings.callback_lifetime_s, 86400)
        assert settings.callback_key_file is not None
        self.assertEqual(callback_keys(settings.callback_key_file), (b"k" * 32, b"o" * 40))
        for missing in good:
            (fault, *_) = self.faults({name: value for name, value in good.items() if name != missing})
            self.assertIn(f"--{missing}", fault)
        for bad, says in (
            ({"callback-address": "http://a:b@c"}, "user name"),
            ({"callback-address": "http://" + "a" * 200}, "more than 190"),
            ({"admin": "tcp:8082"}, "a port of their own"),
        ):
            self.assertIn(says, "".join(self.faults({**good, **bad})))
        self.assertIn("cannot be read", self.faults({**good, "callback-key-file": "/nowhere"})[0])

    def test_stream_without_dead_letters(self) -> None:
        """It is warned of, unless the user says that it is meant."""
        (warning,) = self.read({"stream": "S"}).warnings
        self.assertIn("without --dead-letter", warning)
        for more in ({"dead-letter": "none"}, {"dead-letter": "dead"}):
            self.assertEqual(self.read({"stream": "S", **more}).warnings, ())
        self.assertEqual(self.read({"stream": "S"}, NATSCONNECTOR_DEAD_LETTER="none").warnings, ())

    def test_every_item_of_a_list(self) -> None:
        """All that is wrong with a list is told, each by its place."""
        (fault,) = self.faults({"topics": "a b,c,d..e"})
        self.assertIn("number 1", fault)
        self.assertIn("number 3", fault)

    def test_lists_can_be_empty(self) -> None:
        """none is a list without items."""
        self.assertIsNone(self.read({"retry-codes": "none"}).retry_codes)

    def test_subjects_of_a_stream(self) -> None:
        """From a stream any subject can be taken, all of it included; on core NATS > would hear what is NATS's own."""
        stream = {"stream": "S", "dead-letter": "none"}
        self.assertEqual(self.read({"topics": ">", **stream}).topics, (">",))
        (fault,) = self.faults({"topics": ">"})
        self.assertIn("would hear _INBOX.>", fault)

    def test_order_of_annotated_topics(self) -> None:
        """On a stream the order is that of one consumer; on core NATS, and without an order, all topics go."""
        order, stream = {"ordered-by": "Key"}, {"stream": "S", "dead-letter": "none"}
        (fault,) = self.faults({"topics-from-annotations": "on", **order, **stream})
        self.assertIn("--ordered-by and --topics-from-annotations with --stream exclude each other", fault)
        for good in (order, stream):
            self.assertTrue(self.read({"topics-from-annotations": "on", **good}).topics_from_annotations)
        self.assertEqual(self.read({"topics": "a,b", **order, **stream}).ordered_by, "key")

    def test_deliver(self) -> None:
        """Where a consumer begins, as the server wants it said."""
        stream = {"stream": "S", "dead-letter": "none"}
        for text, expected in [
            ("New", {"deliver_policy": "new"}),
            ("42", {"deliver_policy": "by_start_sequence", "opt_start_seq": 42}),
            (
                "2026-01-31T13:00:00+01:00",
                {"deliver_policy": "by_start_time", "opt_start_time": "2026-01-31T12:00:00+00:00"},
            ),
        ]:
            self.assertEqual(self.read({"deliver": text, **stream}).deliver, expected)
        for bad in ("0", "-1", "yesterday", "2026-01-31", "2026-01-31T12:00:00", "9" * 30):
            self.assertIn("is none of all, new, last", self.faults({"deliver": bad, **stream})[0])

    def test_unknown_name(self) -> None:
        """A misspelt name of ours is noticed."""
        settings = self.read(NATSCONNECTOR_TIMEOUTS="1s")
        self.assertEqual(settings.warnings, ("NATSCONNECTOR_TIMEOUTS is set, and has no effect",))

    def test_names(self) -> None:
        """One rule makes every environment name; every flag has its field."""
        for flag in FLAGS:
            self.assertEqual(flag.environment_name, "NATSCONNECTOR_" + flag.name.upper().replace("-", "_"))
            self.assertTrue(hasattr(self.read(), flag.attribute))

"""The whole connector on a stream: nothing is lost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.internet.defer import DeferredList
from twisted.trial.unittest import SkipTest

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats import Msg
from natsconnector.nats.jetstream import JetStream
from natsconnector.nats.jetstream.acks import version
from tests.integration.forks import ROOT
from tests.integration.support import WAIT_S, ConnectorCase, ConnectorProcess, Recorded, Waits, envelope, reactor

QUICK = ("--retry-wait", "10ms", "--retry-max-wait", "50ms")


class StreamCase(ConnectorCase):
    """A stream of calls, a stream of dead letters, and connectors that take from them."""

    def make_server(self) -> NatsServer:
        return NatsServer(reactor, port=self.port, jetstream_dir=self.mktemp())

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.js = JetStream(self.client, timeout_s=WAIT_S)
        await self.js.create_stream({"name": "CALLS", "subjects": ["function.*"], "storage": "file"})
        await self.js.create_stream({"name": "DEAD", "subjects": ["dead"], "storage": "file"})

    async def taking(self, *flags: str) -> ConnectorProcess:
        """A connector that takes from the stream."""
        return await self.connector("--stream", "CALLS", *QUICK, *flags)

    async def when_settled(self) -> None:
        """Wait until every message of the stream has been acknowledged, one way or another."""
        while True:
            fields = await self.js.consumer("CALLS", "natsconnector")
            if fields["num_pending"] + fields["num_ack_pending"] == 0:
                return

    async def dead_letters(self) -> list[tuple[bytes, dict[str, str]]]:
        return [(letter.payload, dict(letter.headers)) async for letter in self.js.messages("DEAD")]

    def answers_to(self, subject: str) -> tuple[list[Msg], Waits]:
        answers: list[Msg] = []
        waits = Waits()

        def received(msg: Msg) -> None:
            answers.append(msg)
            waits.changed()

        self.client.subscribe(subject, received)
        return answers, waits


class TakingTests(StreamCase):
    """From the stream to the gateway."""

    async def test_taken_and_acknowledged(self) -> None:
        """What was published before and after the start is called once and acknowledged; call ids name the message."""
        for number in range(50):
            await self.js.publish("function.call", envelope(f"early {number}"))
        await self.taking()
        for number in range(50):
            await self.js.publish("function.call", envelope(f"late {number}"))
        await self.when_settled()
        self.assertEqual(len(self.gateway.count()), 100)
        self.assertEqual(set(self.gateway.count().values()), {1})
        first = next(each for each in self.gateway.requests if each.body == b"early 0")
        self.assertEqual(first.headers["x-call-id"], "CALLS-1-figlet")
        consumer = await self.js.consumer("CALLS", "natsconnector")
        self.assertEqual(consumer["config"]["max_ack_pending"], -1)
        self.assertEqual(consumer["config"]["filter_subject"], "function.call")

    async def test_answer(self) -> None:
        """The outcome goes where the message's header says; the publisher has its PubAck."""
        await self.taking("--reply-allow", "results")
        answers, waits = self.answers_to("results")
        await self.js.publish("function.call", envelope("x"), headers={"X-Reply-Subject": "results"})
        await waits.when(lambda: len(answers) == 1)
        self.assertEqual((answers[0].payload, answers[0].headers.get("X-Call-Id")), (b"done", "CALLS-1-figlet"))

    async def test_no_more_than_slots(self) -> None:
        """Only what can be called is pulled; the rest stays in the stream, for others."""
        waiting: list[Recorded] = []
        self.gateway.respond = waiting.append
        await self.taking("--max-inflight", "3")
        for number in range(10):
            await self.js.publish("function.call", envelope(str(number)))
        await self.gateway.when_requests(3)
        consumer = await self.js.consumer("CALLS", "natsconnector")
        self.assertEqual((consumer["num_ack_pending"], consumer["num_pending"]), (3, 7))
        for number in range(10):
            await self.gateway.when_requests(number + 1)
            self.gateway.answer(waiting[number], 200)
        await self.when_settled()

    async def test_slower_than_the_ack_wait(self) -> None:
        """A function slower than the ack wait is executed once: the server is told that it goes on."""
        waiting: list[Recorded] = []
        self.gateway.respond = waiting.append
        await self.taking("--ack-wait", "300ms")
        await self.js.publish("function.call", envelope("slow"))
        await self.gateway.when_requests(1)
        # Twenty others take their time one after another, longer than the ack wait.
        for number in range(20):
            await self.js.publish("function.call", envelope(f"other {number}"))
            await self.gateway.when_requests(number + 2)
            reactor.callLater(0.05, self.gateway.answer, waiting[-1], 200)
            await self.gateway.when_answered(waiting[-1])
        self.gateway.answer(waiting[0], 200)
        await self.when_settled()
        self.assertEqual(set(self.gateway.count().values()), {1})

    async def test_several_subjects(self) -> None:
        """Several subjects of the stream, and nothing else of it, on a server that can."""
        if version(self.client.server_info["version"]) < (2, 10, 0):
            raise SkipTest("nats-server 2.10 is the first with several filters")
        await self.taking("--subject", "function.call,function.other")
        for subject in ("function.call", "function.third", "function.other"):
            await self.js.publish(subject, envelope(subject))
        await self.gateway.when_requests(2)
        self.assertEqual(set(self.gateway.count()), {b"function.call", b"function.other"})

    async def test_many_connectors(self) -> None:
        """Two, then five connectors on one consumer share the work; those that are stopped lose and double nothing."""

        def respond(recorded: Recorded) -> None:
            reactor.callLater(0.02, self.gateway.answer, recorded, 200)

        self.gateway.respond = respond
        connectors = [await self.taking("--max-inflight", "5") for _ in range(2)]
        published = [self.js.publish("function.call", envelope(str(number))) for number in range(100)]
        await self.gateway.when_requests(50)
        connectors += [await self.taking("--max-inflight", "5") for _ in range(3)]
        published += [self.js.publish("function.call", envelope(str(number))) for number in range(100, 500)]
        await self.gateway.when_requests(250)
        await connectors[0].stop()
        await self.gateway.when_requests(350)
        await connectors[4].stop()
        await DeferredList(published, fireOnOneErrback=True)
        await self.when_settled()
        self.assertEqual(len(self.gateway.count()), 500)
        self.assertEqual(set(self.gateway.count().values()), {1})
        for connector in connectors:
            await connector.stop()
        shares = [re.search(r"(\d+) messages received", "\n".join(each.lines)) for each in connectors]
        numbers = [int(share[1]) if share else 0 for share in shares]
        self.assertEqual(sum(numbers), 500)
        self.assertGreater(min(numbers), 10, numbers)


class FailingTests(StreamCase):
    """Retries and dead letters."""

    async def test_retried(self) -> None:
        """What fails comes again, with the same call id, until it works; others are not held up."""

        def respond(recorded: Recorded) -> None:
            tries = sum(each.body == recorded.body for each in self.gateway.requests)
            self.gateway.answer(recorded, 500 if recorded.body == b"bad" and tries < 4 else 200)

        self.gateway.respond = respond
        await self.taking()
        await self.js.publish("function.call", envelope("bad"))
        for number in range(20):
            await self.js.publish("function.call", envelope(str(number)))
        await self.when_settled()
        self.assertEqual(self.gateway.count()[b"bad"], 4)
        self.assertEqual(
            {r.headers["x-call-id"] for r in self.gateway.requests if r.body == b"bad"}, {"CALLS-1-figlet"}
        )

    async def test_failing_function_stalls_nobody(self) -> None:
        """Any number of messages that wait for another attempt leave room for those that work."""

        def respond(recorded: Recorded) -> None:
            self.gateway.answer(recorded, 500 if recorded.path == "/function/bad" else 200)

        self.gateway.respond = respond
        await self.connector("--stream", "CALLS", "--max-inflight", "4", "--retry-wait", "30s")
        for _ in range(40):
            await self.js.publish("function.call", envelope("x", function="bad"))
        await self.gateway.when_requests(40)
        for number in range(10):
            await self.js.publish("function.call", envelope(str(number)))
        await self.gateway.when_requests(50)

    async def test_dead_letters(self) -> None:
        """Poison of each kind goes to the dead letters with its reason; good messages in between are unharmed."""

        def respond(recorded: Recorded) -> None:
            status = {"/function/gone": 404, "/function/bad": 500}.get(recorded.path, 200)
            self.gateway.answer(recorded, status, b"no")

        self.gateway.respond = respond
        flags = ("--dead-letter", "dead", "--retry-attempts", "3", "--allow-function", "f*,gone,bad")
        await self.taking("--reply-allow", "results", *flags)
        answers, waits = self.answers_to("results")
        cases = [
            (b"not json", "400", "not JSON", "0"),
            (envelope(function="../x"), "400", "no function name", "0"),
            (envelope(function="other"), "403", "--allow-function", "0"),
            (envelope(function="gone"), "404", "gone answered 404", "1"),
            (envelope(function="bad"), "500", "bad answered 500", "3"),
        ]
        for number, (payload, *_) in enumerate(cases):
            headers = {"X-Mine": str(number), "X-Reply-Subject": "results", "Nats-Msg-Id": f"m{number}"}
            await self.js.publish("function.call", payload, headers=headers)
            await self.js.publish("function.call", envelope(f"good {number}"))
        await self.when_settled()
        await waits.when(lambda: len(answers) == len(cases))
        letters = {payload: headers for payload, headers in await self.dead_letters()}
        self.assertEqual(len(letters), len(cases))
        for number, (payload, status, reason, attempts) in enumerate(cases):
            headers = letters[payload]
            self.assertEqual(headers["Dead-Letter-Status"], status)
            self.assertIn(reason, headers["Dead-Letter-Reason"])
            self.assertEqual(headers["Dead-Letter-Attempts"], attempts)
            self.assertEqual((headers["Dead-Letter-Subject"], headers["X-Mine"]), ("function.call", str(number)))
            self.assertRegex(headers["Dead-Letter-First-Time"], r"^\d{4}-.*Z$")
            self.assertLessEqual(headers["Dead-Letter-First-Time"], headers["Dead-Letter-Last-Time"])
        self.assertEqual(
            {answer.headers.get("Nats-Service-Error-Code") for answer in answers}, {"400", "403", "404", "500"}
        )
        self.assertEqual(sum(r.body.startswith(b"good") for r in self.gateway.requests), len(cases))

    async def test_stream_full_of_poison(self) -> None:
        """Hundreds of messages of every bad kind, with good ones in between: each gets what it deserves."""
        poison = {
            b"": "empty",
            b"\xff\xfe\x00": "UTF-8",
            b"{'function': 'figlet'}": "double quotes",
            b"[" * 100_000: "nested",
            b"[1]": "object",
            b'{"function": 5}': "function",
            envelope(function="../../system/functions"): "function",
            envelope(callback_url="file:///etc/passwd"): "callback_url",
        }
        kinds = [*poison]
        connector = await self.taking("--dead-letter", "dead", "--max-inflight", "10")
        published = []
        for number in range(400):
            payload = kinds[number % len(kinds)] if number % 10 else envelope(str(number))
            published.append(self.js.publish("function.call", payload))
        await DeferredList(published, fireOnOneErrback=True)
        await self.when_settled()
        letters = await self.dead_letters()
        self.assertEqual(len(letters), 360)
        for payload, headers in letters:
            self.assertEqual(headers["Dead-Letter-Status"], "400")
            self.assertIn(poison[payload], headers["Dead-Letter-Reason"])
        self.assertEqual(self.gateway.count(), {b"%d" % number: 1 for number in range(0, 400, 10)})
        self.assertIsNone(connector.ended)

    async def test_without_dead_letters(self) -> None:
        """Without a place for dead letters a line names stream and sequence of what is given up."""
        connector = await self.taking()
        await self.js.publish("function.call", envelope("fine"))
        await self.js.publish("function.call", b"not json")
        await connector.when_line("error .*gave up message CALLS-2 on function.call .*not JSON")
        await self.when_settled()

    async def test_dead_letter_stream_is_missing(self) -> None:
        """It is not ready until a stream listens there: no message could be given up safely."""
        await self.js.delete_stream("DEAD")
        connector = ConnectorProcess(
            "--nats", self.server.url, "--gateway", self.gateway.url, "--stream", "CALLS", "--dead-letter", "dead"
        )
        self.addCleanup(connector.stop)
        await connector.when_line("not ready.*no stream listens on the dead-letter subject dead")
        await self.js.create_stream({"name": "DEAD", "subjects": ["dead"]})
        await connector.when_ready()

    async def test_message_that_looks_like_a_status(self) -> None:
        """A message with the header block of a status is poison like any other, and stops nobody."""
        await self.taking("--dead-letter", "dead", "--max-inflight", "1", "--ack-wait", "1h")
        block = b"NATS/1.0 409 Consumer Deleted\r\n\r\n"
        raw: Any = self.client._session.connection
        raw.out.send(b"HPUB function.call %d %d\r\n%b\r\n" % (len(block), len(block), block))
        await self.js.publish("function.call", envelope("good"))
        await self.gateway.when_requests(1)
        await self.when_settled()
        self.assertEqual([payload for payload, _ in await self.dead_letters()], [b""])

    async def test_dead_letters_do_not_fit(self) -> None:
        """Dead letters that their stream does not take stall nobody, are not given up, and get there when it does."""
        await self.js.delete_stream("DEAD")
        full = {"name": "DEAD", "subjects": ["dead"], "max_msgs": 1, "discard": "new"}
        await self.js.create_stream(full)
        await self.js.publish("dead", b"first")
        connector = await self.taking("--dead-letter", "dead", "--max-inflight", "4", "--shutdown-timeout", "100ms")
        for _ in range(3):
            await self.js.publish("function.call", b"not json")
        await connector.when_line("could not store the dead letter .*maximum messages exceeded")
        for number in range(5):
            await self.js.publish("function.call", envelope(str(number)))
        await self.gateway.when_requests(5)
        await self.js.delete_message("DEAD", 1)
        while (await self.js.stream("DEAD"))["state"]["messages"] < 1:
            pass


class OutageTests(StreamCase):
    """What goes away and comes back."""

    async def test_stream_is_missing(self) -> None:
        """Until the stream exists it is not ready, says so once, and goes on by itself."""
        await self.js.delete_stream("CALLS")
        connector = ConnectorProcess("--nats", self.server.url, "--gateway", self.gateway.url, "--stream", "CALLS")
        self.addCleanup(connector.stop)
        await connector.when_line("not ready.*there is no stream CALLS")
        await self.js.create_stream({"name": "CALLS", "subjects": ["function.*"]})
        await connector.when_ready()
        self.assertEqual(sum("not ready" in line for line in connector.lines), 1)

    async def test_consumer_deleted(self) -> None:
        """A consumer that is removed is made again, and calls nothing again that was acknowledged."""
        connector = await self.taking()
        for number in range(20):
            await self.js.publish("function.call", envelope(f"before {number}"))
        await self.when_settled()
        await self.js.delete_consumer("CALLS", "natsconnector")
        await connector.when_line("consumer natsconnector is lost")
        await connector.when_line("made consumer natsconnector of stream CALLS, from message")
        await self.js.publish("function.call", envelope("after"))
        await self.gateway.when_requests(21)
        await self.when_settled()
        self.assertEqual(set(self.gateway.count().values()), {1})

    async def test_gateway_away(self) -> None:
        """An outage of the gateway uses up no attempts: all is executed when it is back, with two lines about it."""
        connector = await self.taking("--retry-attempts", "2", "--dead-letter", "dead", "--max-inflight", "20")
        await self.gateway.stop()
        for number in range(200):
            await self.js.publish("function.call", envelope(str(number)))
        await connector.when_line("gateway away: the gateway is unreachable")
        fields = await self.js.consumer("CALLS", "natsconnector")
        self.assertLessEqual(fields["num_ack_pending"], 20, "the rest stays in the stream")
        await self.gateway.start()
        await self.gateway.when_requests(200)
        await self.when_settled()
        self.assertEqual(set(self.gateway.count().values()), {1})
        self.assertEqual(await self.dead_letters(), [])
        about = [line for line in connector.lines if " gateway away" in line or " gateway back" in line]
        self.assertEqual(len(about), 2, about)

    async def test_dead_letters_that_nobody_keeps(self) -> None:
        """A stream that acknowledges dead letters without keeping them is no place for them."""
        await self.js.create_stream({"name": "LOST", "subjects": ["lost"], "retention": "interest"})
        connector = ConnectorProcess(
            "--nats", self.server.url, "--gateway", self.gateway.url, "--stream", "CALLS", "--dead-letter", "lost"
        )  # fmt: skip
        self.addCleanup(connector.stop)
        await connector.when_line("not ready.*stream LOST.*interest retention and no consumer")
        await self.js.create_consumer("LOST", {"durable_name": "keeper", "ack_policy": "explicit"})
        await connector.when_ready()

    async def test_consumer_is_changed_in_place(self) -> None:
        """With --update-consumer other subjects are taken without calling anything again."""
        connector = await self.taking()
        await self.js.publish("function.call", envelope("old"))
        await self.when_settled()
        await connector.stop()
        await self.taking("--subject", "function.call,function.other", "--update-consumer")
        await self.js.publish("function.other", envelope("new"))
        await self.gateway.when_requests(2)
        await self.when_settled()
        self.assertEqual(self.gateway.count(), {b"old": 1, b"new": 1})

    async def test_where_it_begins(self) -> None:
        """--deliver new leaves what was there before."""
        await self.js.publish("function.call", envelope("old"))
        await self.taking("--deliver", "new")
        await self.js.publish("function.call", envelope("new"))
        await self.gateway.when_requests(1)
        await self.when_settled()
        self.assertEqual(self.gateway.count(), {b"new": 1})

    async def test_transformed_subjects(self) -> None:
        """What counts are the subjects that the stream gives its messages."""
        await self.js.create_stream(
            {
                "name": "IN",
                "subjects": ["in.*"],
                "subject_transform": {"src": "in.*", "dest": "function.{{wildcard(1)}}"},
            }
        )
        await self.js.delete_stream("CALLS")
        await self.connector("--stream", "IN")
        await self.js.publish("in.call", envelope("x"))
        await self.gateway.when_requests(1)

    async def test_push_consumer(self) -> None:
        """A push consumer that delivers to a core connector sends each message again and again: said once."""
        self.gateway.deploy("f", topic="t.pushed")
        connector = await self.connector("--topics", "t.pushed")
        await self.js.create_consumer(
            "CALLS",
            {
                "durable_name": "push",
                "ack_policy": "explicit",
                "deliver_subject": "t.pushed",
                "deliver_group": "openfaas_nats_worker_group",
            },
        )
        await self.js.publish("function.call", b"x")
        await connector.when_line("come from a push consumer.*take them with --stream CALLS")

    async def test_consumer_does_not_fit(self) -> None:
        """A consumer of another kind is not taken, and the line says what is wrong."""
        for config, says in [
            ({"ack_policy": "none"}, "ack_policy is none"),
            ({"ack_policy": "explicit", "filter_subject": "function.other"}, "it takes function.other"),
            ({"ack_policy": "explicit", "deliver_subject": "push.here"}, "push consumer"),
        ]:
            await self.js.create_consumer("CALLS", {"durable_name": "misfit", **config})
            connector = ConnectorProcess(
                "--nats", self.server.url, "--gateway", self.gateway.url, "--stream", "CALLS", "--consumer", "misfit"
            )  # fmt: skip
            self.addCleanup(connector.stop)
            await connector.when_line(f"not ready.*consumer misfit does not fit: .*{says}")
            await connector.stop()
            await self.js.delete_consumer("CALLS", "misfit")

    async def test_old_server_and_several_subjects(self) -> None:
        """A server that would ignore several filters is told of, not used."""
        if version(self.client.server_info["version"]) >= (2, 10, 0):
            raise SkipTest("this nats-server knows several filters")
        connector = ConnectorProcess(
            "--nats", self.server.url, "--gateway", self.gateway.url,
            "--stream", "CALLS", "--subject", "function.a,function.b",
        )  # fmt: skip
        self.addCleanup(connector.stop)
        await connector.when_line("not ready.*needs nats-server 2.10 or newer")

    async def test_consumer_without_filter(self) -> None:
        """A consumer of the whole stream fits when there can be nothing else in it."""
        await self.js.create_stream({"name": "ONLY", "subjects": ["only.call"]})
        await self.js.create_consumer("ONLY", {"durable_name": "whole", "ack_policy": "explicit", "max_batch": 2})
        await self.connector("--stream", "ONLY", "--consumer", "whole", "--subject", "only.call")
        for number in range(5):
            await self.js.publish("only.call", envelope(str(number)))
        await self.gateway.when_requests(5)

    async def test_small_max_ack_pending(self) -> None:
        """A limit that lets one function stall all others is warned about."""
        config = {"ack_policy": "explicit", "filter_subject": "function.call", "max_ack_pending": 5}
        await self.js.create_consumer("CALLS", {"durable_name": "natsconnector", **config})
        connector = await self.taking()
        await connector.when_line("allows 5 unacknowledged messages")

    async def test_nats_restarted(self) -> None:
        """A restart in the middle: what was pulled is done once, what comes after is taken without one of ours."""
        waiting: list[Recorded] = []
        self.gateway.respond = waiting.append
        connector = await self.taking("--ack-wait", "60s")
        await self.js.publish("function.call", envelope("before"))
        await self.gateway.when_requests(1)
        await self.server.stop()
        await self.server.start()
        await self.client.when_ready()
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 200)
        self.gateway.answer(waiting[0], 200)
        await self.publish_until_stored(envelope("after"))
        await self.gateway.when_requests(2)
        await self.when_settled()
        self.assertEqual(set(self.gateway.count().values()), {1})
        self.assertIsNone(connector.ended)

    async def publish_until_stored(self, payload: bytes) -> None:
        while True:
            try:
                await self.js.publish("function.call", payload, headers={"Nats-Msg-Id": "once"})
                return
            except Exception:
                await self.client.flush()

    async def test_killed(self) -> None:
        """A connector that is killed loses nothing: what it had goes to the next one."""
        self.gateway.respond = lambda recorded: None
        connector = await self.taking("--ack-wait", "500ms")
        for number in range(5):
            await self.js.publish("function.call", envelope(str(number)))
        await self.gateway.when_requests(5)
        connector.signal("KILL")
        await connector.when_ended()
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 200)
        await self.taking()
        await self.when_settled()
        self.assertEqual(set(self.gateway.count().values()), {2})

    async def test_stopped_in_the_middle(self) -> None:
        """What cannot be finished within the shutdown time is left to others at once, not after the ack wait."""
        self.gateway.respond = lambda recorded: None
        connector = await self.taking("--shutdown-timeout", "200ms", "--ack-wait", "1h")
        await self.js.publish("function.call", envelope("x"))
        await self.gateway.when_requests(1)
        await connector.stop()
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 200)
        await self.taking()
        await self.when_settled()
        self.assertEqual(self.gateway.count(), {b"x": 2})


class DomainTests(ConnectorCase):
    """A JetStream domain."""

    def make_server(self) -> NatsServer:
        folder = self.mktemp()
        return NatsServer(reactor, config_text=f'jetstream {{ store_dir: "{folder}", domain: hub }}')

    async def test_domain(self) -> None:
        """The stream of a domain; what is given up, with a reason or without, does not come again."""
        js = JetStream(self.client, domain="hub")
        await js.create_stream({"name": "CALLS", "subjects": ["function.*"]})
        connector = await self.connector("--stream", "CALLS", "--js-domain", "hub", "--ack-wait", "200ms")
        await js.publish("function.call", b"not json")
        await js.publish("function.call", envelope("x"))
        await self.gateway.when_requests(1)
        await connector.when_line("gave up message CALLS-1")
        while (fields := await js.consumer("CALLS", "natsconnector"))["num_ack_pending"] + fields["num_pending"]:
            pass
        self.assertEqual(fields["delivered"]["consumer_seq"], 2)


class OtherAccountTests(ConnectorCase):
    """A stream of another account, whose API is imported under a prefix as docs/jetstream.md says."""

    def make_server(self) -> NatsServer:
        text = (Path(ROOT) / "docs" / "jetstream.md").read_text()
        accounts = text[text.index("    owner {") : text.index("With either setting")]
        for name, more in (("owner", "jetstream: enabled"), ("team", "")):
            user = f"users: [ {{ user: {name}, password: pw }} ]"
            accounts = accounts.replace(f"    {name} {{\n", f"    {name} {{\n{user}\n{more}\n")
        text = f'jetstream {{ store_dir: "{self.mktemp()}" }}\nno_auth_user: owner\naccounts {{\n{accounts}}}\n'
        return NatsServer(reactor, config_text=text)

    async def test_prefix(self) -> None:
        """Messages are taken, called and acknowledged; what cannot succeed is stored among the owner's dead letters."""
        js = JetStream(self.client)
        await js.create_stream({"name": "CALLS", "subjects": ["function.*"]})
        await js.create_stream({"name": "DEAD", "subjects": ["dead"]})
        connector = ConnectorProcess(
            "--nats", self.server.url.replace("//", "//team:pw@"), "--gateway", self.gateway.url, "--stream", "CALLS",
            "--js-prefix", "$JS.acme.API", "--dead-letter", "dead",
        )  # fmt: skip
        self.addCleanup(connector.stop)
        await connector.when_ready()
        await js.publish("function.call", b"not json")
        await js.publish("function.call", envelope("x"))
        await self.gateway.when_requests(1)
        while (fields := await js.consumer("CALLS", "natsconnector"))["num_ack_pending"] + fields["num_pending"]:
            pass
        self.assertEqual(fields["delivered"]["consumer_seq"], 2)
        self.assertEqual([letter.payload async for letter in js.messages("DEAD")], [b"not json"])
        self.assertEqual([line for line in connector.lines if "server refuses" in line], [])


class NoStreamTests(ConnectorCase):
    """A server without JetStream."""

    async def test_no_jetstream(self) -> None:
        """It says what is missing, and stays."""
        connector = ConnectorProcess("--nats", self.server.url, "--gateway", self.gateway.url, "--stream", "CALLS")
        self.addCleanup(connector.stop)
        await connector.when_line("not ready.*JetStream (is )?not enabled")
        self.assertIsNone(connector.ended)

"""The whole connector on topics: a drop-in for the existing connectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import DeferredList

from natsconnector.local.gateway import LocalGateway
from natsconnector.local.nats_server import NatsServer
from natsconnector.local.processes import Function
from natsconnector.nats import Msg, NoResponders
from natsconnector.nats.jetstream import JetStream
from tests.integration.support import WAIT_S, ConnectorCase, ConnectorProcess, Recorded, envelope, reactor

QUICK = ("--rebuild-interval", "50ms")


class TopicCase(ConnectorCase):
    """Functions with topics in two namespaces."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.gateway.deploy("figlet", topic="banner,orders.*")
        self.gateway.deploy("cat", "team", topic="orders.new")

    async def ask(self, subject: str, payload: bytes = b"x", **more: Any) -> Msg:
        return await self.client.request(subject, payload, timeout_s=WAIT_S, **more)

    def credentials(self, user: str, password: str) -> str:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "basic-auth-user").write_text(user)
        (folder / "basic-auth-password").write_text(f"{password}\n")
        return str(folder.absolute())

    def paths(self) -> list[str]:
        return sorted(recorded.path for recorded in self.gateway.requests)


class DropInTests(TopicCase):
    """Started with the environment of an existing deployment."""

    async def test_official_connector(self) -> None:
        """The official chart's environment: the same calls with the same headers, and the misnomer is warned about."""
        self.gateway.credentials = ("admin", "s3cret")
        connector = await self.connector(
            broker_host=self.server.url.removeprefix("nats://"),
            topics="banner, orders.new,",
            topic_delimiter=",",
            gateway_url=self.gateway.url + "/",
            upstream_timeout="30s",
            rebuild_interval="50ms",
            asynchronous_invocation="false",
            async_invocation="true",
            print_response="true",
            print_response_body="false",
            basic_auth="true",
            secret_mount_path=self.credentials("admin", "s3cret"),
        )
        answer = await self.ask("banner", b"raw \xff payload")
        self.assertEqual(answer.payload, b"done")
        (recorded,) = self.gateway.requests
        self.assertEqual((recorded.method, recorded.path), ("POST", "/function/figlet.openfaas-fn"))
        self.assertEqual((recorded.body, recorded.headers["x-topic"]), (b"raw \xff payload", "banner"))
        self.assertEqual(recorded.headers["x-connector"], "natsconnector")
        self.assertNotIn("authorization", recorded.headers)
        await connector.when_line("async_invocation is set, and has no effect")
        await connector.stop()
        text = "\n".join(connector.lines)
        self.assertNotIn("s3cret", text)
        self.assertIn("topics=banner, orders.new,", text)

    async def test_official_connector_with_functions_that_run(self) -> None:
        """The same on the local gateway, which asks for the credentials, with functions in two namespaces."""
        functions = {
            "upper": Function("upper", "tr a-z A-Z", annotations={"topic": "shout,both"}),
            "count.team": Function("count", "wc -c", namespace="team", annotations={"topic": "both"}),
        }
        local = LocalGateway(reactor, functions, credentials=("admin", "s3cret"))
        await local.start()
        self.addCleanup(local.stop)
        await self.connector(
            broker_host=self.server.url.removeprefix("nats://"),
            topics="shout,both,",
            gateway_url=local.url,
            upstream_timeout="30s",
            rebuild_interval="50ms",
            asynchronous_invocation="false",
            basic_auth="true",
            secret_mount_path=self.credentials("admin", "s3cret"),
        )
        self.assertEqual((await self.ask("shout", b"hello")).payload, b"HELLO")
        entries = json.loads((await self.ask("both", b"hello")).payload)
        answers = {entry["function"]: entry["body"].strip() for entry in entries}
        self.assertEqual(answers, {"upper.openfaas-fn": "HELLO", "count.team": "5"})

    async def test_original_connector(self) -> None:
        """The original's environment, the misspelt name and the gateway without scheme."""
        for environment in (
            {"NATS_HOST": self.server.url, "FAAS_HOSt": self.gateway.url},
            {"NATS_HOST": self.server.url, "FAAS_GATEWAY": self.gateway.url.removeprefix("http://")},
        ):
            connector = await self.connector(**environment)
            await self.client.request("function.call", envelope("Hello World"), timeout_s=WAIT_S)
            await connector.stop()
        self.assertEqual(self.paths(), ["/function/figlet"] * 2)

    async def test_asynchronous(self) -> None:
        """With asynchronous invocation the gateway queues the calls for topics; envelopes say for themselves."""
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 202)
        await self.connector("--topics", "banner", "--subject", "function.call", "--async", *QUICK)
        self.assertEqual((await self.ask("banner")).headers.get("X-Function-Status"), "202")
        await self.client.request("function.call", envelope("x"), timeout_s=WAIT_S)
        self.assertEqual(self.paths(), ["/async-function/figlet.openfaas-fn", "/function/figlet"])


class TopicsTests(TopicCase):
    """From topics to functions."""

    async def test_several_functions(self) -> None:
        """They run side by side, each with its own outcome; the answer has all of them."""

        def respond(recorded: Recorded) -> None:
            status = 500 if recorded.path == "/function/cat.team" else 200
            self.gateway.answer(recorded, status, recorded.path.encode())

        self.gateway.respond = respond
        await self.connector("--topics", "orders.>", *QUICK)
        answer = await self.ask("orders.new")
        entries = {entry["function"]: entry for entry in json.loads(answer.payload)}
        self.assertEqual(entries["figlet.openfaas-fn"]["body"], "/function/figlet.openfaas-fn")
        self.assertEqual((entries["cat.team"]["status"], entries["cat.team"]["body"]), (500, "/function/cat.team"))
        self.assertEqual(answer.headers.get("Nats-Service-Error"), "1 of 2 functions failed")

    async def test_slow_beside_fast(self) -> None:
        """A slow function holds up neither a fast one on the same topic nor the next message."""
        self.gateway.respond = lambda recorded: None if "cat" in recorded.path else self.gateway.answer(recorded, 200)
        await self.connector("--topics", "orders.new", "--shutdown-timeout", "100ms", *QUICK)
        for _ in range(5):
            self.client.publish("orders.new", b"x")
        await self.gateway.when_requests(10)
        self.assertEqual(self.paths().count("/function/figlet.openfaas-fn"), 5)

    async def test_headers(self) -> None:
        """Headers travel both ways, except those that speak for the connection, or are secrets."""
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 200, b"x", x_trace="t", set_cookie="a=b")
        await self.connector("--topics", "banner", "--content-type", "text/x", *QUICK)
        headers = {"traceparent": "00-a-b-01", "Authorization": "Bearer secret", "Host": "evil", "X-Call-Id": "mine"}
        answer = await self.ask("banner", headers=headers)
        (recorded,) = self.gateway.requests
        self.assertEqual(recorded.headers["traceparent"], "00-a-b-01")
        self.assertEqual((recorded.headers["content-type"], recorded.headers["x-call-id"]), ("text/x", "mine"))
        self.assertNotIn("authorization", recorded.headers)
        self.assertNotEqual(recorded.headers["host"], "evil")
        self.assertEqual((answer.headers.get("X-Trace"), answer.headers.get("X-Call-Id")), ("t", "mine"))

    async def test_empty_payload(self) -> None:
        """An empty message is a call with an empty body, once."""
        await self.connector("--topics", "banner", *QUICK)
        await self.ask("banner", b"")
        self.assertEqual([recorded.body for recorded in self.gateway.requests], [b""])

    async def test_nobody_wants_it(self) -> None:
        """A topic without functions is answered, and told."""
        connector = await self.connector("--topics", "orphan", *QUICK)
        self.assertError(await self.ask("orphan"), 404, "no function is annotated with the topic orphan")
        await connector.when_line("no function is annotated with the topic orphan")

    async def test_connections_are_kept(self) -> None:
        """Calls one after the other take one connection."""
        await self.connector("--topics", "banner", *QUICK)
        for _ in range(5):
            await self.ask("banner")
        clients = {str(recorded.request.client) for recorded in self.gateway.requests}
        self.assertEqual(len(clients), 1)


class FollowingTests(TopicCase):
    """The list of functions."""

    async def test_before_the_first_list(self) -> None:
        """Messages that come before there is a list are held, and called when there is one."""
        await self.gateway.stop()
        connector = await self.connector("--topics", "banner", *QUICK)
        await connector.when_line("cannot list the functions, messages for topics wait")
        answers = [self.client.request("banner", b"%d" % number, timeout_s=WAIT_S) for number in range(20)]
        await self.client.flush()
        await self.gateway.start()
        await DeferredList(answers, fireOnOneErrback=True)
        self.assertEqual(len(self.gateway.count()), 20)

    async def test_gateway_away_at_refresh(self) -> None:
        """Without the gateway the last list stays, it is said once, and the process lives."""
        connector = await self.connector("--topics", "banner", "--retry-attempts", "1", *QUICK)
        await self.ask("banner")
        await self.gateway.stop()
        await connector.when_line("cannot list the functions, the last list is kept")
        self.assertError(await self.ask("banner"), 502)
        await self.gateway.start()
        await connector.when_line("the functions can be listed again")
        self.assertEqual((await self.ask("banner")).payload, b"done")
        self.assertEqual(sum("cannot list" in line for line in connector.lines), 1)

    async def test_wrong_credentials(self) -> None:
        """A 401 is told as what it is, and new credentials in the files are taken without a restart."""
        self.gateway.credentials = ("admin", "new")
        folder = self.credentials("admin", "old")
        connector = await self.connector("--topics", "banner", "--gateway-credentials", folder, *QUICK)
        await connector.when_line("cannot list the functions.*401|cannot list the functions.*credentials")
        (Path(folder) / "basic-auth-password").write_text("new")
        await connector.when_line("the functions can be listed again")
        self.assertEqual((await self.ask("banner")).payload, b"done")

    async def test_from_annotations(self) -> None:
        """Topics are subscribed as functions come and go; nothing is dropped that has a function."""
        connector = await self.connector("--topics-from-annotations", *QUICK)
        await connector.when_line("functions: 2")
        await self.client.flush()
        self.assertEqual((await self.request_on("banner")).payload, b"done")
        self.gateway.deploy("late", topic="fresh.*")
        seen = len(connector.lines)
        await connector.when_line("functions: 3", seen)
        self.assertEqual((await self.request_on("fresh.one")).payload, b"done")
        self.gateway.functions = [each for each in self.gateway.functions if each["name"] != "late"]
        await connector.when_line("functions: 2", seen)
        self.assertEqual((await self.request_on("banner")).payload, b"done")

    async def request_on(self, subject: str) -> Msg:
        """Ask until somebody listens: a subscription takes its way to the server."""
        while True:
            try:
                return await self.ask(subject)
            except NoResponders:
                continue

    async def test_changes_while_messages_flow(self) -> None:
        """A function that is replaced while messages flow: each message has been called for one of the two."""
        self.gateway.functions = []
        self.gateway.deploy("v1", topic="flow")
        await self.connector("--topics", "flow", *QUICK)
        answers = []
        for number in range(200):
            if number == 60:
                self.gateway.deploy("v2", topic="flow")
            if number == 120:
                self.gateway.functions = [each for each in self.gateway.functions if each["name"] == "v2"]
            answers.append(self.client.request("flow", b"%d" % number, timeout_s=WAIT_S))
            if number % 20 == 0:
                await self.gateway.when_listed_again()
        for _, answer in await DeferredList(answers, fireOnOneErrback=True):
            self.assertIsNone(answer.headers.get("Nats-Service-Error"))
        self.assertEqual(set(self.gateway.count()), {b"%d" % number for number in range(200)})
        self.assertEqual({recorded.path for recorded in self.gateway.requests[-20:]}, {"/function/v2.openfaas-fn"})


class StreamTests(TopicCase):
    """Topics of a stream."""

    def make_server(self) -> NatsServer:
        return NatsServer(reactor, port=self.port, jetstream_dir=self.mktemp())

    async def test_topics_from_a_stream(self) -> None:
        """One message for several functions: only the one that failed is tried again; then it is acknowledged once."""
        js = JetStream(self.client, timeout_s=WAIT_S)
        await js.create_stream({"name": "ORDERS", "subjects": ["orders.*"]})

        def respond(recorded: Recorded) -> None:
            first = sum(each.path == recorded.path for each in self.gateway.requests) == 1
            self.gateway.answer(recorded, 503 if "cat" in recorded.path and first else 200)

        self.gateway.respond = respond
        await self.connector("--stream", "ORDERS", "--topics", "orders.new", "--retry-wait", "10ms", *QUICK)
        await js.publish("orders.new", b"x")
        await self.gateway.when_requests(3)
        while (await js.consumer("ORDERS", "natsconnector"))["num_ack_pending"]:
            pass
        self.assertEqual(self.paths(), ["/function/cat.team"] * 2 + ["/function/figlet.openfaas-fn"])
        ids = {recorded.headers["x-call-id"] for recorded in self.gateway.requests}
        self.assertEqual(ids, {"ORDERS-1-cat.team", "ORDERS-1-figlet.openfaas-fn"})

    async def test_limited_function_holds_no_pulled_message(self) -> None:
        """More messages for a function at its limit than may be pulled: the others are taken all the same."""
        js = JetStream(self.client, timeout_s=WAIT_S)
        await js.create_stream({"name": "ORDERS", "subjects": ["t.*"]})
        self.gateway.functions = []
        self.gateway.deploy("narrow", **{"topic": "t.narrow", "natsconnector.max-inflight": "1"})
        self.gateway.deploy("wide", topic="t.wide")
        waiting: list[Recorded] = []
        self.gateway.respond = lambda recorded: (
            waiting.append(recorded) if "narrow" in recorded.path else self.gateway.answer(recorded, 200)
        )
        await self.connector("--stream", "ORDERS", "--topics", "t.*", "--max-inflight", "2", *QUICK)
        for number in range(6):
            await js.publish("t.narrow", b"narrow %d" % number)
        for number in range(4):
            await js.publish("t.wide", b"wide %d" % number)
        await self.gateway.when_requests(5)
        self.assertEqual(len(waiting), 1)
        for number in range(6):
            await self.gateway.when_requests(5 + number)
            self.gateway.answer(waiting[number], 200)
        while (await js.consumer("ORDERS", "natsconnector"))["num_ack_pending"]:
            pass
        self.assertEqual(set(self.gateway.count().values()), {1})


class LimitTests(TopicCase):
    """Limits by function."""

    async def test_limit_by_annotation(self) -> None:
        """A function is called no more often at once than it wants, while others are."""
        self.gateway.deploy("narrow", **{"topic": "narrow", "natsconnector.max-inflight": "2"})
        waiting: list[Recorded] = []
        self.gateway.respond = lambda recorded: (
            waiting.append(recorded) if "narrow" in recorded.path else self.gateway.answer(recorded, 200)
        )
        await self.connector("--topics", "narrow,banner", "--max-inflight", "3", *QUICK)
        answers = [self.client.request("narrow", b"%d" % number, timeout_s=WAIT_S) for number in range(6)]
        for _ in range(5):
            await self.ask("banner")
        self.assertEqual(len(waiting), 2)
        for number in range(6):
            await self.gateway.when_requests(min(7 + number, 11))
            self.gateway.answer(waiting[number], 200)
        await DeferredList(answers, fireOnOneErrback=True)


class FaultsTests(TopicCase):
    """Configurations that cannot work."""

    async def test_overlap(self) -> None:
        """Subjects that overlap topics would have messages called twice: refused at the start."""
        connector = ConnectorProcess("--topics", "function.*", "--subject", "function.call")
        await connector.when_ended()
        self.assertIn("overlap", "\n".join(connector.lines))
        self.assertFalse(connector.ended_cleanly)

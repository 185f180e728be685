"""The whole connector: its process, a real nats-server, a gateway on a real socket."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import DeferredList
from twisted.internet.error import ProcessDone
from twisted.trial.unittest import TestCase

from natsconnector.nats import Msg
from tests.integration.support import ConnectorCase, ConnectorProcess, Recorded, Waits, envelope


class MessagesTests(ConnectorCase):
    """What reaches the gateway, and what comes back."""

    async def test_two_messages(self) -> None:
        """The synchronous and the asynchronous message make the requests that the gateway's contract asks for."""
        await self.connector()
        answer = await self.request(b'{"function": "figlet", "params": {"body": "Hello World"}}')
        self.assertEqual((answer.payload, answer.headers.get("X-Function-Status")), (b"done", "200"))
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 202)
        answer = await self.request(envelope("Hello World", callback_url="http://your-callback.url/example"))
        self.assertEqual((answer.payload, answer.headers.get("X-Function-Status")), (b"", "202"))
        sync, queued = self.gateway.requests
        self.assertEqual((sync.method, sync.path, sync.body), ("POST", "/function/figlet", b"Hello World"))
        self.assertNotIn("x-callback-url", sync.headers)
        self.assertEqual((queued.method, queued.path), ("POST", "/async-function/figlet"))
        self.assertEqual(queued.body, b"Hello World")
        self.assertEqual(queued.headers["x-callback-url"], "http://your-callback.url/example")
        self.assertEqual(queued.headers["x-call-id"], answer.headers.get("X-Call-Id"))

    async def test_credentials_stay_home(self) -> None:
        """Functions see the gateway's credentials only where --gateway-auth-scope says all."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for name, text in (("user", "admin"), ("password", "pa55")):
            (folder / f"basic-auth-{name}").write_text(text)
        self.gateway.credentials = ("admin", "pa55")
        connector = await self.connector("--gateway-credentials", str(folder))
        await self.request(envelope())
        await connector.stop()
        await self.connector("--gateway-credentials", str(folder), "--gateway-auth-scope", "all")
        await self.request(envelope())
        home, abroad = self.gateway.requests
        self.assertNotIn("authorization", home.headers)
        self.assertEqual(abroad.headers["authorization"], "Basic YWRtaW46cGE1NQ==")

    async def test_a_thousand_at_once(self) -> None:
        """1,000 messages published in one go arrive exactly once each."""
        await self.connector()
        for number in range(1000):
            self.client.publish("function.call", envelope(str(number)))
        await self.gateway.when_requests(1000)
        await self.request(envelope("last"))
        count = self.gateway.count()
        self.assertEqual(len(count), 1001)
        self.assertEqual(set(count.values()), {1})

    async def test_many_in_flight(self) -> None:
        """As many calls as --max-inflight allows are at the gateway at once, and no more; others wait their turn."""
        waiting: list[Recorded] = []
        self.gateway.respond = waiting.append
        await self.connector("--max-inflight", "50")
        answers = [self.request(envelope(str(number))) for number in range(80)]
        await self.gateway.when_requests(50)
        # The connector has read all of them once it has refused this one, which came last.
        self.assertError(await self.request(b"x"), 400)
        self.assertEqual(len(waiting), 50)
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 200)
        for recorded in waiting:
            self.gateway.answer(recorded, 200)
        await DeferredList(answers, fireOnOneErrback=True)

    async def test_slow_function_holds_up_nobody(self) -> None:
        """While one function does not answer, others are called."""

        def respond(recorded: Recorded) -> None:
            if recorded.path != "/function/slow":
                self.gateway.answer(recorded, 200, b"fast")

        self.gateway.respond = respond
        await self.connector("--shutdown-timeout", "100ms")
        slow = self.request(envelope(function="slow"))
        for _ in range(20):
            self.assertEqual((await self.request(envelope())).payload, b"fast")
        self.assertFalse(slow.called)
        slow.addErrback(lambda _: None)
        slow.cancel()

    async def test_bad_messages(self) -> None:
        """Each is answered with what is wrong; none reaches the gateway; the next good one works."""
        await self.connector("--allow-function", "figlet,cat")
        for payload, code, says in [
            (b"hello", 400, "not JSON"),
            (b"{function: 'figlet'}", 400, "JavaScript"),
            (b"[1]", 400, "an array"),
            (envelope(function="../system/functions"), 400, "../system/functions"),
            (envelope(function="a/b"), 400, "a/b"),
            (envelope(function="a%2fb"), 400, "a%2fb"),
            (envelope(function=""), 400, "no function name"),
            (envelope(callback_url="file:///x"), 400, "file:///x"),
            (envelope(callback_url=""), 400, "not an absolute http"),
            (b"\xff" * (1 << 20), 400, "UTF-8"),
            (b"[" * (1 << 20), 400, "nested"),
            (envelope(function="other"), 403, "--allow-function"),
        ]:
            self.assertError(await self.request(payload), code, says)
        self.assertEqual(self.gateway.requests, [])
        self.assertEqual((await self.request(envelope())).payload, b"done")

    async def test_garbage_header_block(self) -> None:
        """A header block that no client of ours would write is that message's fault alone."""
        await self.connector()
        inbox: list[Msg] = []
        waits = Waits()

        def received(msg: Msg) -> None:
            inbox.append(msg)
            waits.changed()

        self.client.subscribe("answers", received)
        for block in (b"abcd", b"NATS/1.0\r\nno: end\r\n", b"NATS/1.0 5\r\n\r\n"):
            frame = b"HPUB function.call answers %d %d\r\n%b%b\r\n" % (
                len(block), len(block) + len(envelope()), block, envelope(),
            )  # fmt: skip
            self.client._session._send(frame)
        await waits.when(lambda: len(inbox) == 3)
        for answer in inbox:
            self.assertError(answer, 400, "header block")
        self.assertEqual(self.gateway.requests, [])
        self.assertEqual((await self.request(envelope())).payload, b"done")

    async def test_failures_of_functions(self) -> None:
        """A function's failure keeps its status and body, and is not repeated."""
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 500, b"boom", content_type="text/x")
        await self.connector()
        answer = await self.request(envelope())
        self.assertError(answer, 500, "figlet answered 500")
        self.assertEqual((answer.payload, answer.headers.get("Content-Type")), (b"boom", "text/x"))
        self.assertEqual(len(self.gateway.requests), 1)

    async def test_answer_larger_than_nats_takes(self) -> None:
        """The function ran, its answer does not fit: 413, once."""
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 200, b"x" * (1 << 20))
        await self.connector()
        self.assertError(await self.request(envelope()), 413, "max_payload")
        self.assertEqual(len(self.gateway.requests), 1)

    async def test_overload(self) -> None:
        """What the backlog cannot hold is answered 503 at once, with one line in the log."""
        waiting: list[Recorded] = []
        self.gateway.respond = waiting.append
        connector = await self.connector("--max-inflight", "1", "--max-pending-messages", "2")
        answers = [self.request(envelope(str(number))) for number in range(3)]
        await self.gateway.when_requests(1)
        for _ in range(5):
            self.assertError(await self.request(envelope()), 503, "overloaded")
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 200)
        self.gateway.answer(waiting[0], 200)
        await DeferredList(answers, fireOnOneErrback=True)
        await connector.when_line("no longer overloaded: 5 messages")
        self.assertEqual(sum("overloaded: 2 messages" in line for line in connector.lines), 1)

    async def test_nobody_asks(self) -> None:
        """A message without reply subject is called too, and its failure is in the log."""
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 500)
        connector = await self.connector()
        self.client.publish("function.call", envelope())
        await connector.when_line(r"failed for a message on function.call .*figlet answered 500 \[call ")

    async def test_two_connectors_share(self) -> None:
        """In one queue group each message is called once."""
        await self.connector()
        await self.connector()
        await DeferredList([self.request(envelope(str(n))) for n in range(200)], fireOnOneErrback=True)
        self.assertEqual(set(self.gateway.count().values()), {1})

    async def test_payloads_are_not_logged(self) -> None:
        """Bodies are in the log only when asked for."""
        for flags, visible in (((), False), (("--print-request-body", "--print-response-body"), True)):
            connector = await self.connector(*flags)
            self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 200, b"answer-text")
            await self.request(envelope("request-text"))
            await connector.stop()
            text = "\n".join(connector.lines)
            self.assertEqual(("request-text" in text, "answer-text" in text), (visible, visible))


class OutagesTests(ConnectorCase):
    """Servers that go away and come back."""

    async def test_nats_killed(self) -> None:
        """The connector comes back by itself and goes on."""
        connector = await self.connector()
        await self.request(envelope())
        for _ in range(2):
            seen = len(connector.lines)
            await self.server.kill()
            await connector.when_line("connection to NATS .* lost", seen)
            await self.server.start()
            await connector.when_line("connected to NATS", seen)
            self.assertEqual((await self.request_until_heard(envelope())).payload, b"done")

    async def test_nats_away_at_the_start(self) -> None:
        """Without a nats-server it keeps trying, says so, and is ready when there is one."""
        await self.server.stop()
        connector = ConnectorProcess("--nats", self.server.url, "--gateway", self.gateway.url)
        self.addCleanup(connector.stop)
        await connector.when_line("no NATS server")
        await self.server.start()
        await connector.when_ready()
        self.assertEqual((await self.request_until_heard(envelope())).payload, b"done")

    async def test_gateway_away(self) -> None:
        """Without a gateway requests are answered 502 soon; with it they work again; a line for each of the two."""
        connector = await self.connector("--retry-wait", "10ms")
        await self.gateway.stop()
        self.assertError(await self.request(envelope()), 502, "unreachable")
        await connector.when_line("gateway away: the gateway is unreachable")
        answer = self.request(envelope(), headers={"X-Call-Id": "while-away"})
        await self.gateway.start()
        await connector.when_line("gateway back after")
        await answer
        self.assertEqual((await self.request(envelope())).payload, b"done")

    async def test_gateway_breaks_off(self) -> None:
        """A call that may have been executed is not repeated."""
        self.gateway.respond = lambda recorded: recorded.request.transport.abortConnection()  # type: ignore[union-attr]
        await self.connector("--retry-wait", "10ms")
        self.assertError(await self.request(envelope()), 502, "may have been executed")
        self.assertEqual(len(self.gateway.requests), 1)

    async def test_time_out(self) -> None:
        """A function that is too slow is given up: 504."""
        self.gateway.respond = lambda recorded: None
        await self.connector("--timeout", "200ms")
        self.assertError(await self.request(envelope()), 504, "0.2 s")


class StoppingTests(ConnectorCase):
    """SIGTERM, and other signals."""

    async def test_exit_status(self) -> None:
        """A drain that a signal asked for, a closed terminal's included, ends with 0."""
        for name in ("TERM", "INT", "HUP"):
            connector = await self.connector()
            connector.signal(name)
            await connector.when_ended()
            assert connector.ended is not None
            self.assertIs(connector.ended.check(ProcessDone), ProcessDone, connector.lines)

    async def test_second_signal(self) -> None:
        """It hurries the end, and says so; what was in flight is answered."""
        self.gateway.respond = lambda recorded: None
        connector = await self.connector("--shutdown-timeout", "1h")
        answer = self.request(envelope())
        await self.gateway.when_requests(1)
        connector.signal("TERM")
        await connector.when_line("stopping: 1 calls in flight")
        connector.signal("TERM")
        self.assertError(await answer, 503)
        await connector.when_ended()
        self.assertFalse(any("Traceback" in line for line in connector.lines), connector.lines)
        self.assertTrue(
            any("a second signal came: 1 calls are given up" in line for line in connector.lines), connector.lines
        )

    async def test_log_file(self) -> None:
        """SIGUSR1 begins a new log file, and harms nothing where there is none."""
        path = Path(self.mktemp()).absolute()
        connector = ConnectorProcess(
            "--nats", self.server.url, "--gateway", self.gateway.url, twistd_flags=("--logfile", str(path))
        )  # fmt: skip
        self.addCleanup(connector.stop)
        await self.request_until_heard(envelope())
        connector.signal("USR1")
        old = Path(f"{path}.1")
        # Whoever waits for a file has to look: a request goes through meanwhile.
        while not old.exists():
            await self.request(envelope())
        self.assertIn("natsconnector ready", old.read_text())
        quiet = await self.connector()
        quiet.signal("USR1")
        await quiet.stop()
        self.assertTrue(quiet.ended_cleanly)

    async def test_calls_in_flight_are_answered(self) -> None:
        """20 calls in flight and 20 in the backlog: all 40 are answered before it ends, cleanly, without a pid file."""
        waiting: list[Recorded] = []
        self.gateway.respond = waiting.append
        connector = await self.connector("--max-inflight", "20")
        answers = [self.request(envelope(str(number))) for number in range(40)]
        await self.gateway.when_requests(20)
        connector.signal("TERM")
        await connector.when_line("stopping: 20 calls in flight, 20 messages wait")
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, 200, b"done")
        for recorded in waiting:
            self.gateway.answer(recorded, 200, b"done")
        for _, answer in await DeferredList(answers, fireOnOneErrback=True):
            self.assertEqual(answer.payload, b"done")
        await connector.when_ended()
        self.assertTrue(connector.ended_cleanly, connector.ended)

    async def test_shutdown_time_is_over(self) -> None:
        """What is not done within the shutdown time is answered 503; nothing hangs."""
        self.gateway.respond = lambda recorded: None
        connector = await self.connector("--max-inflight", "5", "--shutdown-timeout", "200ms")
        answers = [self.request(envelope(str(number))) for number in range(10)]
        await self.gateway.when_requests(5)
        connector.signal("TERM")
        for _, answer in await DeferredList(answers, fireOnOneErrback=True):
            self.assertError(answer, 503)
        await connector.when_ended()
        self.assertTrue(connector.ended_cleanly, connector.ended)

    async def test_stop_without_nats(self) -> None:
        """It stops in good time when there is nothing to say goodbye to."""
        connector = await self.connector()
        await self.server.kill()
        await connector.stop()
        self.assertTrue(connector.ended_cleanly, connector.ended)


class ConfigurationTests(TestCase):
    """A configuration that cannot work."""

    async def test_all_faults_at_once(self) -> None:
        """It ends before anything is connected, not with 0, and names every fault."""
        connector = ConnectorProcess("--timeout", "x", environment={"max_inflight": "no"})
        await connector.when_ended()
        text = "\n".join(connector.lines)
        self.assertIn("--timeout: 'x' is not a duration", text)
        self.assertIn("max_inflight: 'no' is not a whole number", text)
        self.assertFalse(connector.ended_cleanly)

"""Tests of asking the gateway for its functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs, formatEvent

from natsconnector.gateway import BasicAuth, GatewayFault, SystemClient
from natsconnector.local.gateway import LocalGateway
from natsconnector.local.processes import Function
from natsconnector.model.function import DeployedFunction
from tests.gateway.servers import RawConnection, RawServerCase, answer

reactor: Any = _reactor

NAMESPACES = "/system/namespaces"
FUNCTIONS = "/system/functions"
NOT_FOUND = answer(b"404 page not found\n", b"404 Not Found")


def listing(*names: str, **annotations: str) -> bytes:
    """An answer that lists functions."""
    return answer(json.dumps([{"name": name, "annotations": annotations or None} for name in names]).encode())


class SystemCase(RawServerCase):
    """A gateway that answers by path."""

    def start(self, answers: dict[str, bytes], **more: Any) -> SystemClient:
        self.answers = answers
        self.server = self.serve(lambda connection: connection.write(self.answers[connection.path]))
        return self.client_of(f"http://127.0.0.1:{self.server.port}", **more)

    def client_of(self, url: str, *, credentials: BasicAuth | None = None, **more: Any) -> SystemClient:
        client = SystemClient(reactor, url, credentials=credentials, **{"timeout_s": 10.0, **more})
        self.addCleanup(client.close)
        return client

    def paths(self) -> list[str]:
        return [request.split(b" ")[1].decode() for request in self.server.requests]

    async def fault(self, asking: Deferred[Any]) -> str:
        """Why it failed, on one line."""
        fault = await self.assertFailure(asking, GatewayFault)
        self.assertEqual(str(fault), fault.reason)
        self.assertEqual(len(fault.reason.splitlines()), 1)
        return str(fault.reason)


class FunctionsTests(SystemCase):
    """Lists that are as they should be."""

    async def test_namespaces(self) -> None:
        """Each namespace is asked for its functions, which keep their order."""
        client = self.start(
            {
                NAMESPACES: answer(b'["fn", "dev", "fn"]'),
                f"{FUNCTIONS}?namespace=fn": listing("a", "b", topic="x,y"),
                f"{FUNCTIONS}?namespace=dev": listing("a"),
            }
        )
        self.assertEqual(
            await client.functions(),
            [
                DeployedFunction("a", "fn", {"topic": "x,y"}),
                DeployedFunction("b", "fn", {"topic": "x,y"}),
                DeployedFunction("a", "dev"),
            ],
        )
        self.assertRegex(self.server.requests[0], rb"GET /system/namespaces HTTP/1.1\r\n")
        self.assertNotIn(b"authorization", self.server.requests[0].lower())
        self.assertRegex(self.server.requests[0], rb"User-Agent: natsconnector/\d")

    async def test_no_namespaces(self) -> None:
        """A gateway that knows no namespaces, and says so in whichever way, is asked for its only list."""
        for none in (NOT_FOUND, answer(b"[]"), answer(b"null"), answer(b" \n")):
            client = self.start({NAMESPACES: none, FUNCTIONS: listing("a")})
            self.assertEqual(await client.functions(), [DeployedFunction("a")])

    async def test_no_functions(self) -> None:
        """No functions are a list, too: Go writes its empty one as null."""
        for none in (b"[]", b"null"):
            self.assertEqual(await self.start({NAMESPACES: NOT_FOUND, FUNCTIONS: answer(none)}).functions(), [])

    async def test_side_by_side(self) -> None:
        """Namespaces are asked side by side, eight at a time; the next refresh takes the same connections."""
        names = [f"n{number}" for number in range(24)]
        waiting: list[RawConnection] = []

        def respond(connection: RawConnection) -> None:
            if connection.path == NAMESPACES:
                connection.write(answer(json.dumps(names).encode()))
                return
            waiting.append(connection)
            if len(waiting) == 8:
                for each in waiting:
                    each.write(listing("f"))
                waiting.clear()

        self.server = self.serve(respond)
        client = self.client_of(f"http://127.0.0.1:{self.server.port}")
        for _ in range(2):
            functions = await client.functions()
            self.assertEqual([function.full_name for function in functions], [f"f.{name}" for name in names])
        self.assertEqual(len(self.server.connections), 8)

    async def test_wrong_entries(self) -> None:
        """An entry that cannot be understood costs only itself; it is told once, until something else is wrong."""
        wrong: list[Any] = [{"name": "../x"}, {"annotations": {}}, "f", {"name": "a.b"}, {"name": 1},
                            {"name": "f", "annotations": {"topic": 1}}, {"name": "f", "annotations": []}]  # fmt: skip
        right = [{"name": "g", "annotations": None, "other": 1}]
        client = self.start({NAMESPACES: NOT_FOUND, FUNCTIONS: b""})
        for entry in wrong:
            self.answers[FUNCTIONS] = answer(json.dumps([entry, *right]).encode())
            for expected in (1, 0):
                with capturedLogs() as logs:
                    self.assertEqual(await client.functions(), [DeployedFunction("g")], entry)
                lines = [line for line in map(formatEvent, logs) if "ignored" in line]
                self.assertEqual(len(lines), expected, entry)
                for line in lines:
                    self.assertIn(f"GET {FUNCTIONS}: an entry is ignored: ", line)
                    self.assertIn(json.dumps(entry), line)
        self.answers[FUNCTIONS] = answer(json.dumps([wrong[0]] * 500).encode())
        with capturedLogs() as logs:
            self.assertEqual(await client.functions(), [])
        self.assertIn("(and 499 more)", formatEvent(logs[-1]))

    async def test_healthy(self) -> None:
        """The gateway's health needs no credentials, and none are shown."""
        client = self.start({"/healthz": answer(b"OK")}, credentials=BasicAuth("/nowhere"))
        await client.healthy()
        self.assertNotIn(b"authorization", self.server.requests[0].lower())
        self.answers["/healthz"] = answer(b"", b"503 Service Unavailable")
        self.assertEqual(await self.fault(client.healthy()), "GET /healthz: the gateway answered 503: nothing")


class FaultTests(SystemCase):
    """Lists that do not come: each is one fault, which names the request and the reason."""

    async def test_unreachable(self) -> None:
        """A gateway that is not there."""
        text = await self.fault(self.client_of("http://127.0.0.1:1").functions())
        self.assertRegex(text, r"^GET /system/namespaces: the gateway is unreachable: .*refused")

    async def test_answers(self) -> None:
        """Whatever comes instead of a list: its status, and the beginning of its body."""
        for wrong, text in (
            (
                answer(b"upstream\r\nconnect  error\x1b", b"503 Oh"),
                r'the gateway answered 503: "upstream connect error\u001b"',
            ),
            (answer(b"", b"302 Found", b"Location: http://127.0.0.1:1/"), "the gateway answered 302: nothing"),
            (answer(b"invalid", b"403 Forbidden"), 'the gateway answered 403: "invalid"'),
            (answer(b"Error"), 'the answer is not JSON: "Error"'),
            (answer(b"\xff[]"), 'the answer is not JSON: "\\ufffd[]"'),
            (answer(b"[" * 100_000), 'the answer is not JSON: "' + "[" * 116 + "..."),
            (answer(b'{"error": "x"}'), 'the answer is not a list: "{\\"error\\": \\"x\\"}"'),
            (answer(b"3"), 'the answer is not a list: "3"'),
        ):
            client = self.start({NAMESPACES: wrong, FUNCTIONS: listing("a")})
            self.assertEqual(await self.fault(client.functions()), f"GET {NAMESPACES}: {text}")
            client = self.start({NAMESPACES: answer(b"[]"), FUNCTIONS: wrong})
            self.assertEqual(await self.fault(client.functions()), f"GET {FUNCTIONS}: {text}")

    async def test_namespace_names(self) -> None:
        """What is no name gets into no URL."""
        for name in ("a/b", "a&b", "", "..", "a b", 1, None, "ü"):
            client = self.start({NAMESPACES: answer(json.dumps(["fn", name]).encode())})
            text = await self.fault(client.functions())
            self.assertEqual(text, f"GET {NAMESPACES}: not a namespace: {json.dumps(name)}")
            self.assertEqual(self.paths(), [NAMESPACES])

    async def test_one_namespace(self) -> None:
        """One namespace that fails fails the whole list; the others are given up, and their connections closed."""

        def respond(connection: RawConnection) -> None:
            if connection.path == NAMESPACES:
                connection.write(answer(b'["silent", "broken"]'))
            elif connection.path.endswith("broken"):
                connection.write(answer(b"down", b"500 Oh"))

        server = self.serve(respond)
        # The deadline would close them, too, but not before this test has failed.
        client = self.client_of(f"http://127.0.0.1:{server.port}", timeout_s=600)
        text = await self.fault(client.functions())
        self.assertEqual(text, f'GET {FUNCTIONS}?namespace=broken: the gateway answered 500: "down"')
        await server.when_lost

    async def test_broken_off(self) -> None:
        """A connection that breaks, in the headers or in the body."""
        for part in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n["):

            def respond(connection: RawConnection, part: bytes = part) -> None:
                connection.write(part)
                connection.lose()

            server = self.serve(respond)
            text = await self.fault(self.client_of(f"http://127.0.0.1:{server.port}").functions())
            self.assertTrue(text.startswith(f"GET {NAMESPACES}: the gateway did not answer: "), text)

    async def test_too_large(self) -> None:
        """A list without end is cut off."""
        client = self.start({NAMESPACES: answer(b" " * 1001)}, max_response_bytes=1000)
        text = await self.fault(client.functions())
        self.assertEqual(text, f"GET {NAMESPACES}: the gateway did not answer: larger than 1000 bytes")

    async def test_cancelled(self) -> None:
        """Cancelling closes the connections of all that is asked."""
        arrived: Deferred[None] = Deferred()

        def respond(connection: RawConnection) -> None:
            if connection.path == NAMESPACES:
                connection.write(answer(b'["a", "b"]'))
            elif len(server.requests) == 3:
                arrived.callback(None)

        server = self.serve(respond)
        asking = self.client_of(f"http://127.0.0.1:{server.port}", timeout_s=600).functions()
        await arrived
        asking.cancel()
        await self.assertFailure(asking, CancelledError)
        await server.when_lost


class SystemCredentialsTests(SystemCase):
    """What ``/system`` asks for."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        (self.folder / "basic-auth-user").write_text("admin")
        self.write("old")

    def write(self, password: str) -> None:
        (self.folder / "basic-auth-password").write_text(password)

    async def local(self, password: str = "old") -> SystemClient:
        gateway = LocalGateway(reactor, {"f": Function("f", "cat")}, credentials=("admin", password))
        await gateway.start()
        self.addCleanup(gateway.stop)
        self.url = gateway.url
        return self.client_of(gateway.url, credentials=BasicAuth(str(self.folder)))

    async def test_accepted(self) -> None:
        """With the right ones the list comes."""
        [function] = await (await self.local()).functions()
        self.assertEqual(function.full_name, "f.openfaas-fn")

    async def test_missing(self) -> None:
        """Without any, the fault says how to give them."""
        await self.local()
        text = await self.fault(self.client_of(self.url).functions())
        self.assertEqual(text, f"GET {NAMESPACES}: 401: the gateway asks for credentials: set --gateway-credentials")

    async def test_rotated(self) -> None:
        """When others are in the files by now, they are tried at once."""
        credentials = BasicAuth(str(self.folder))
        credentials.authorization()
        self.write("new")
        await self.local("new")
        [function] = await self.client_of(self.url, credentials=credentials).functions()
        self.assertEqual(function.name, "f")

    async def test_refused(self) -> None:
        """Wrong ones are said to be, without showing them, and are not tried again while they are all there is."""
        refusal = answer(b"admin:old", b"401 Unauthorized")
        client = self.start({NAMESPACES: refusal}, credentials=BasicAuth(str(self.folder)))
        said = f"GET {NAMESPACES}: 401: the gateway refuses the credentials in {self.folder}"
        self.assertEqual(await self.fault(client.functions()), said)
        self.assertEqual(len(self.server.requests), 1)
        self.write("other")
        self.assertEqual(await self.fault(client.functions()), said)
        self.assertEqual(len(self.server.requests), 2)
        self.assertIn(b"Basic YWRtaW46b3RoZXI=", self.server.requests[1])

    async def test_unreadable(self) -> None:
        """Files that cannot be read are the fault, and nothing is asked without them."""
        (self.folder / "basic-auth-password").unlink()
        client = self.start({}, credentials=BasicAuth(str(self.folder)))
        text = await self.fault(client.functions())
        self.assertIn(f"GET {NAMESPACES}: no credentials: {self.folder}/basic-auth-password cannot be read", text)
        self.assertEqual(self.server.requests, [])


class LocalGatewayTests(SystemCase):
    """Against the local gateway, as functions come and go."""

    async def test_two_namespaces(self) -> None:
        """Functions of one name in two namespaces, and what is deployed and removed while it runs."""
        deployed = {
            "cat": Function("cat", "cat", annotations={"topic": "a"}),
            "cat.dev": Function("cat", "cat", namespace="dev", annotations={"topic": "a,b"}),
        }
        gateway = LocalGateway(reactor, deployed)
        await gateway.start()
        self.addCleanup(gateway.stop)
        client = self.client_of(gateway.url)

        async def topics() -> dict[str, str]:
            return {each.full_name: each.annotations["topic"] for each in await client.functions()}

        self.assertEqual(await topics(), {"cat.dev": "a,b", "cat.openfaas-fn": "a"})
        del deployed["cat.dev"]
        deployed["new"] = Function("new", "cat", annotations={"topic": "c"})
        self.assertEqual(await topics(), {"cat.openfaas-fn": "a", "new.openfaas-fn": "c"})

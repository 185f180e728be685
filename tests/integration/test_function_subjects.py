"""The whole connector on subjects that name the function."""

from __future__ import annotations

from typing import Any

from natsconnector.nats import Msg
from tests.integration.support import WAIT_S, ConnectorCase, Recorded
from tests.integration.test_jetstream import QUICK
from tests.integration.test_redrive import RedriveCase

SUBJECTS = ("--function-subject", "fn.*,in.*.*")


class FunctionSubjectTests(ConnectorCase):
    """On core NATS."""

    async def test_called(self) -> None:
        """The raw payload goes to the function that the subject names, at the route that headers name."""
        await self.connector(*SUBJECTS, "--allow-function", "*.*")

        async def ask(subject: str, payload: bytes = b"", **headers: str) -> Msg:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await self.client.request(subject, payload, headers=named, timeout_s=WAIT_S)

        def respond(recorded: Recorded) -> None:
            self.gateway.answer(recorded, 404 if "missing" in recorded.path else 200, b"done", X_Of="f")

        self.gateway.respond = respond
        answer = await ask("fn.figlet", b"\xff raw", Content_Type="text/csv", X_Call_Id="mine")
        self.assertEqual((answer.payload, answer.headers.get("X-Function-Status")), (b"done", "200"))
        self.assertEqual((answer.headers.get("X-Of"), answer.headers.get("X-Call-Id")), ("f", "mine"))
        recorded = self.gateway.requests[0]
        self.assertEqual((recorded.method, recorded.path), ("POST", "/function/figlet"))
        self.assertEqual((recorded.body, recorded.headers["content-type"]), (b"\xff raw", "text/csv"))
        await ask("in.figlet.team", X_Callback_Url="http://h/")
        await ask("fn.figlet", Function_Path="/a/b?c=d", Function_Method="GET")
        head = await ask("fn.figlet", Function_Method="HEAD")
        self.assertEqual((head.headers.get("X-Function-Status"), head.payload), ("200", b""))
        found = [(each.method, each.path) for each in self.gateway.requests[1:]]
        routes = [("POST", "/async-function/figlet.team"), ("GET", "/function/figlet/a/b?c=d")]
        self.assertEqual(found, [*routes, ("HEAD", "/function/figlet")])
        called = len(self.gateway.requests)
        self.assertError(await ask("fn.-a"), 400, "is no function name")
        self.assertError(await ask("fn.figlet", Function_Path="/../other"), 400, "Function-Path")
        self.assertEqual(len(self.gateway.requests), called)
        self.assertError(await ask("fn.missing"), 404, "missing answered 404")


class FunctionSubjectOfStreamTests(RedriveCase):
    """From a stream."""

    async def test_called_and_put_back(self) -> None:
        """What fails is a dead letter, and is called by the same subject when it is put back."""
        await self.js.create_stream({"name": "FN", "subjects": ["fn.*"], "retention": "workqueue"})
        status = 400
        self.gateway.respond = lambda recorded: self.gateway.answer(recorded, status, b"")
        flags: tuple[Any, ...] = ("--stream", "FN", "--function-subject", "fn.*", "--dead-letter", "dead")
        await self.connector(*flags, *QUICK)
        await self.js.publish("fn.cat", b"x", headers={"Function-Path": "/a"})
        while not (letters := await self.dead_letters()):
            pass
        self.assertEqual((letters[0][1]["Dead-Letter-Subject"], letters[0][1]["Dead-Letter-Status"]), ("fn.cat", "400"))
        status = 200
        code, lines = await self.redrive("--function-subject", "fn.*")
        self.assertEqual((code, lines[-1]), (0, "1 dead letters: 1 put back"))
        await self.gateway.when_requests(2)
        self.assertEqual([each.path for each in self.gateway.requests], ["/function/cat/a"] * 2)
        while (await self.js.stream("FN"))["state"]["messages"]:
            pass

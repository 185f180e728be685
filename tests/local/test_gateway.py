"""The local gateway over real sockets, its functions as real processes."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

from treq.client import HTTPClient
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredQueue, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import provider

from natsconnector.local import gateway as gateway_module
from natsconnector.local import invocations
from natsconnector.local.gateway import LocalGateway
from natsconnector.local.invocations import Limit
from natsconnector.local.processes import Function
from natsconnector.web.site import Bounds, _Channel

reactor: Any = _reactor


class CallbackServer(Resource):
    """Keeps what is POSTed to it in `received`. `/stall` never answers; `/redirect` sends elsewhere."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.received: DeferredQueue[tuple[dict[str, str], bytes]] = DeferredQueue()
        self.paths: list[bytes] = []
        self.statuses: list[int] = []

    def render_POST(self, request: Request) -> bytes | int:
        headers = {
            name.decode().lower(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()
        }
        assert request.content is not None
        self.paths.append(request.path)
        self.received.put((headers, request.content.read()))
        if request.path == b"/stall":
            return NOT_DONE_YET
        if self.statuses:
            request.setResponseCode(self.statuses.pop(0))
        if request.path == b"/redirect":
            request.redirect(b"/elsewhere")
        return b"thanks"


class GatewayTests(TestCase):
    timeout = 30
    credentials: tuple[str, str] | None = None
    # Longer than a test may take: no test passes because its function was given up.
    function_timeout_s = 60.0

    async def setUp(self) -> None:  # type: ignore[override]
        # Before the reactor runs no SIGCHLD is heard of, and a process that is killed at once ends unnoticed.
        await deferLater(reactor, 0)
        self.functions = {
            "cat": Function("cat", "cat", annotations={"topic": "echo"}, labels={"tier": "1"}, image="cat:1"),
            "env": Function("env", "env"),
            "fail": Function("fail", "sh -c 'echo broken; exit 1'"),
            "sleep": Function("sleep", "sh -c 'echo running >&2; exec sleep 60'"),
            "staged": Function("staged", "cat", namespace="staging"),
        }
        self.gateway = LocalGateway(
            reactor,
            self.functions,
            credentials=self.credentials,
            function_timeout_s=self.function_timeout_s,
            names=["gateway.team.svc"],
        )
        await self.gateway.start()
        self.addCleanup(self.gateway.stop)
        self.http = HTTPClient(Agent(reactor))

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, **more: Any
    ) -> tuple[int, Any, bytes]:
        """The answer's status, headers and body."""
        response = await self.http.request(
            method,
            self.gateway.url + path,
            data=body,
            headers=headers or {},  # type: ignore[arg-type]
            reactor=reactor,
            allow_redirects=False,
            **more,
        )
        return response.code, response.headers, await response.content()

    async def listen_for_callbacks(self) -> tuple[CallbackServer, str]:
        server = CallbackServer()
        port = reactor.listenTCP(0, Site(server, reactor=reactor), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return server, f"http://127.0.0.1:{port.getHost().port}"

    def when_logged(self, text: str) -> Deferred[str]:
        """Fires with the first line from now on that contains `text`."""
        logged: Deferred[str] = Deferred()

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            line = formatEvent(event)
            if text in line and not logged.called:
                logged.callback(line)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return logged


class SyncCallTests(GatewayTests):
    async def test_answer(self) -> None:
        """A call is answered with the function's output, and the headers that a gateway adds."""
        before_ns = time.time_ns()
        status, headers, body = await self.request("POST", "/function/cat", b"hello", {"Content-Type": "a/b"})
        self.assertEqual((status, body), (200, b"hello"))
        self.assertEqual(headers.getRawHeaders("Content-Type"), ["a/b"])
        self.assertEqual(headers.getRawHeaders("X-Served-By"), ["natsconnector-local"])
        self.assertTrue(before_ns <= int(headers.getRawHeaders("X-Start-Time")[0]) <= time.time_ns())
        self.assertRegex(headers.getRawHeaders("X-Call-Id")[0], r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
        self.assertLess(float(headers.getRawHeaders("X-Duration-Seconds")[0]), 20)

    async def test_call_id(self) -> None:
        """A client's own call id reaches the function and is not echoed; a generated one is both."""
        _, headers, body = await self.request("POST", "/function/env", headers={"X-Call-Id": "mine"})
        self.assertIn(b"\nHttp_X_Call_Id=mine\n", body)
        self.assertFalse(headers.hasHeader("X-Call-Id"))
        _, headers, body = await self.request("POST", "/function/env", headers={"X-Call-Id": ""})
        self.assertIn(f"\nHttp_X_Call_Id={headers.getRawHeaders('X-Call-Id')[0]}\n".encode(), body)

    async def test_path(self) -> None:
        """What follows the name is the function's to see, decoded; the query is not decoded."""
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            _, _, body = await self.request(method, "/function/env/a/b%20c?x=%31")
            self.assertIn(b"\nHttp_Path=/a/b c\n", body)
            self.assertIn(b"\nHttp_Query=x=%31\n", body)
            self.assertIn(f"\nHttp_Method={method}\n".encode(), body)
        for path in ("/function/env", "/function/env/"):
            self.assertIn(b"\nHttp_Path=/\n", (await self.request("POST", path))[2])

    async def test_other_methods(self) -> None:
        """Methods that the watchdog does not answer are 405."""
        for method in ("HEAD", "OPTIONS"):
            self.assertEqual((await self.request(method, "/function/cat"))[0], 405)

    async def test_large(self) -> None:
        """1 MiB passes both ways."""
        body = os.urandom(1024 * 1024)
        status, _, answer = await self.request("POST", "/function/cat", body)
        self.assertEqual(status, 200)
        self.assertTrue(answer == body)

    async def test_form(self) -> None:
        """A body that claims to be a form is passed on as it is, and none is parsed."""
        for content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
            status, _, body = await self.request("POST", "/function/cat", b"a=b", {"Content-Type": content_type})
            self.assertEqual((status, body), (200, b"a=b"))

    async def test_failure(self) -> None:
        """A function's failure is a 500 with what it printed."""
        status, headers, body = await self.request("POST", "/function/fail")
        self.assertEqual((status, body), (500, b"broken\n"))
        self.assertTrue(headers.hasHeader("X-Start-Time"))

    async def test_unknown(self) -> None:
        """An unknown function is a 404 that names it and its namespace, with the gateway's headers."""
        for name in ("nope", "nope.openfaas-fn"):
            status, headers, body = await self.request("POST", f"/function/{name}")
            self.assertEqual(status, 404)
            self.assertTrue(body.startswith(b"error finding function nope.openfaas-fn: "), body)
            self.assertTrue(headers.hasHeader("X-Start-Time"))

    async def test_namespace(self) -> None:
        """A name is looked up in its namespace, which is what follows the last dot."""
        for name, status in {
            "cat.openfaas-fn": 200,
            "staged.staging": 200,
            "staged": 404,
            "cat.staging": 404,
            "a.cat.openfaas-fn": 404,
        }.items():
            self.assertEqual((await self.request("POST", f"/function/{name}"))[0], status, name)

    async def test_one_name_in_two_namespaces(self) -> None:
        """Both can be deployed, and each is called, listed and counted in its own namespace."""
        self.functions["cat.staging"] = Function(
            "cat", "tr a-z A-Z", namespace="staging", annotations={"topic": "loud"}
        )
        for name, answer in (("cat", b"hi"), ("cat.openfaas-fn", b"hi"), ("cat.staging", b"HI")):
            self.assertEqual((await self.request("POST", f"/function/{name}", b"hi"))[2], answer, name)
        for namespace, topic, calls in (("openfaas-fn", "echo", 2), ("staging", "loud", 1)):
            listed = json.loads((await self.request("GET", f"/system/functions?namespace={namespace}"))[2])
            [cat] = [each for each in listed if each["name"] == "cat"]
            self.assertEqual((cat["annotations"]["topic"], cat["invocationCount"]), (topic, calls))
        del self.functions["cat.staging"]
        self.assertEqual((await self.request("POST", "/function/cat.staging"))[0], 404)

    async def test_bad_names(self) -> None:
        """What cannot be a name is no route at all: it gets neither to a function nor to the rest of the gateway."""
        for path in ("/function/", "/function/a%2fb", "/function/a%20b", "/nothing", "/", "/function"):
            for route in (path, "/async-" + path[1:]):
                status, headers, body = await self.request("POST", route)
                self.assertEqual((status, body), (404, b"404 page not found\n"), route)
                self.assertFalse(headers.hasHeader("X-Start-Time"))
        self.assertEqual((await self.request("POST", "/function/%2e%2e/system/functions"))[0], 404)

    async def test_deploy_while_running(self) -> None:
        """Functions may come and go while it runs."""
        self.gateway.functions["new"] = Function("new", "cat")
        self.assertEqual((await self.request("POST", "/function/new"))[0], 200)
        del self.gateway.functions["new"]
        self.assertEqual((await self.request("POST", "/function/new"))[0], 404)

    async def test_disconnect(self) -> None:
        """When the client leaves, its process is killed."""
        running, gone = self.when_logged("sleep: running"), self.when_logged("sleep broken off")
        answering: Any = self.http.post(self.gateway.url + "/function/sleep", reactor=reactor)
        await running
        answering.cancel()
        await gone
        await self.gateway._invocations.when_idle()
        await self.assertFailure(answering, Exception)

    async def test_too_large(self) -> None:
        """A body over the limit is refused with 413."""
        self.gateway._site.bounds = Bounds(body_bytes=1000)
        self.assertEqual((await self.request("POST", "/function/cat", b"x" * 1000))[0], 200)
        self.assertEqual((await self.request("POST", "/function/cat", b"x" * 300_000))[0], 413)

    async def test_overload(self) -> None:
        """Beyond the limit of calls at once some wait for their turn, and beyond that 429 is the answer."""
        self.gateway._invocations.sync_limit = Limit(running=1, waiting=1)
        running = self.when_logged("sleep: running")
        first: Any = self.http.post(self.gateway.url + "/function/sleep", reactor=reactor)
        await running
        self.addCleanup(self.assertFailure, first, Exception)
        second = Deferred.fromCoroutine(self.request("POST", "/function/cat", b"second"))
        third = Deferred.fromCoroutine(self.request("POST", "/function/cat", b"third"))
        # Which of the two comes first is the network's choice.
        refused = await gatherResults([self.first_of(second, third)])
        self.assertEqual(refused[0][0], 429)
        first.cancel()
        self.assertEqual(sorted([(await second)[0], (await third)[0]]), [200, 429])

    def first_of(self, *answers: Deferred[Any]) -> Deferred[Any]:
        first: Deferred[Any] = Deferred()
        for answer in answers:

            def arrived(result: Any) -> Any:
                if not first.called:
                    first.callback(result)
                return result

            answer.addCallback(arrived)
        return first

    async def test_log(self) -> None:
        """Each call is one line in the log, without its query."""
        logged = self.when_logged("/function/cat")
        await self.request("POST", "/function/cat/x?token=secret", b"12345")
        self.assertRegex(await logged, r"\APOST /function/cat/x -> 200 in \d\.\d{3} s, 5 bytes\Z")


class LimitTests(SynchronousTestCase):
    def test_room(self) -> None:
        """What is to wait must fit in number and in bytes; what runs, or has run, takes no room."""
        limit = Limit(running=1, waiting=2, waiting_bytes=10)
        works: list[Deferred[None]] = [Deferred(), Deferred()]
        self.assertTrue(limit.has_room(11))
        running = Deferred.fromCoroutine(limit.run(lambda: works[0], 11))
        self.assertFalse(limit.has_room(11))
        self.assertTrue(limit.has_room(10))
        waiting = Deferred.fromCoroutine(limit.run(lambda: works[1], 6))
        self.assertFalse(limit.has_room(5))
        self.assertTrue(limit.has_room(4))
        works[0].callback(None)
        self.successResultOf(running)
        self.assertTrue(limit.has_room(10))
        works[1].callback(None)
        self.successResultOf(waiting)


class SlowFunctionTests(GatewayTests):
    function_timeout_s = 0.2

    async def test_time_limit(self) -> None:
        """A function that is too slow is killed; the answer is what a gateway gives then, an empty 502."""
        status, headers, body = await self.request("POST", "/function/sleep")
        self.assertEqual((status, body), (502, b""))
        self.assertTrue(headers.hasHeader("X-Start-Time"))


class AsyncCallTests(GatewayTests):
    async def call_back(self, function: str, body: bytes, **headers: str) -> tuple[dict[str, str], bytes]:
        server, url = await self.listen_for_callbacks()
        status, _, answer = await self.request(
            "POST",
            f"/async-function/{function}",
            body,
            {"X-Callback-Url": url + "/done", **{name.replace("_", "-"): value for name, value in headers.items()}},
        )
        self.assertEqual((status, answer), (202, b""))
        return await server.received.get()

    async def test_callback(self) -> None:
        """The call is accepted at once; the answer is POSTed to the callback URL, with the headers that say whose."""
        headers, body = await self.call_back("cat", b"hello", X_Call_Id="mine", Content_Type="a/b")
        self.assertEqual(body, b"hello")
        self.assertEqual(headers["content-type"], "a/b")
        self.assertEqual(headers["x-call-id"], "mine")
        self.assertEqual(headers["x-function-name"], "cat")
        self.assertEqual(headers["x-function-status"], "200")
        self.assertLess(float(headers["x-duration-seconds"]), 20)

    async def test_generated_call_id(self) -> None:
        """A generated call id is in the answer and in the callback."""
        server, url = await self.listen_for_callbacks()
        _, headers, _ = await self.request("POST", "/async-function/cat", b"", {"X-Callback-Url": url})
        self.assertTrue(headers.hasHeader("X-Start-Time"))
        received, _ = await server.received.get()
        self.assertEqual(headers.getRawHeaders("X-Call-Id"), [received["x-call-id"]])

    async def test_failures(self) -> None:
        """What fails, or is unknown, is accepted as well; the callback tells."""
        headers, body = await self.call_back("fail", b"")
        self.assertEqual((headers["x-function-status"], body), ("500", b"broken\n"))
        headers, body = await self.call_back("nope", b"")
        self.assertEqual(headers["x-function-status"], "404")
        self.assertTrue(body.startswith(b"error finding function nope.openfaas-fn: "), body)

    async def test_one_at_a_time(self) -> None:
        """The queue makes one call after the other, its callback included, and ignores what that is answered."""
        server, url = await self.listen_for_callbacks()
        server.statuses = [503]
        for number in range(4):
            await self.request("POST", "/async-function/cat", b"%d" % number, {"X-Callback-Url": url})
        self.assertEqual([(await server.received.get())[1] for _ in range(4)], [b"0", b"1", b"2", b"3"])

    async def test_queue_that_tries_again(self) -> None:
        """If asked for, what fails is tried again: the call, and the callback."""
        self.gateway._invocations._retries = 3
        server, url = await self.listen_for_callbacks()
        server.statuses = [503, 500, 200]
        await self.request("POST", "/async-function/cat", b"x", {"X-Callback-Url": url})
        await self.request("POST", "/async-function/fail", b"x", {"X-Callback-Url": url})
        received = [await server.received.get() for _ in range(4)]
        self.assertEqual([body for _, body in received], [b"x", b"x", b"x", b"broken\n"])
        self.assertEqual(self.gateway._invocations.counts["fail.openfaas-fn"], 4)

    async def test_without_callback(self) -> None:
        """Without a callback URL, or with an empty one, the function runs all the same."""
        for headers in ({}, {"X-Callback-Url": ""}):
            logged = self.when_logged("async cat -> 200")
            self.assertEqual((await self.request("POST", "/async-function/cat", b"", headers))[0], 202)
            await logged

    async def test_only_post(self) -> None:
        """Other methods are 405."""
        for method in ("GET", "PUT", "DELETE"):
            self.assertEqual((await self.request(method, "/async-function/cat"))[0], 405)

    async def test_bad_callback_url(self) -> None:
        """An unparsable URL is refused; one that leads nowhere is accepted, and fails with a line in the log."""
        status, _, body = await self.request("POST", "/async-function/cat", b"", {"X-Callback-Url": "http://a:port/"})
        self.assertEqual(status, 400)
        self.assertIn(b"X-Callback-Url", body)
        for url in ("not-a-url", "http://user:secret@127.0.0.1:1/x?y", "file:///x"):
            logged = self.when_logged("callback of cat")
            status, _, _ = await self.request("POST", "/async-function/cat", b"", {"X-Callback-Url": url})
            self.assertEqual(status, 202)
            line = await logged
            self.assertIn("failed", line)
            self.assertNotIn("secret", line)

    async def test_redirect(self) -> None:
        """A callback goes where it was asked to, and is not sent on."""
        server, url = await self.listen_for_callbacks()
        logged = self.when_logged("callback of cat")
        await self.request("POST", "/async-function/cat", b"", {"X-Callback-Url": f"{url}/redirect"})
        self.assertIn("-> 302", await logged)
        self.assertEqual(server.paths, [b"/redirect"])

    async def test_stalled_callback(self) -> None:
        """A callback server that does not answer is given up."""
        self.patch(invocations, "CALLBACK_TIMEOUT_S", 0.1)
        _, url = await self.listen_for_callbacks()
        logged = self.when_logged("callback of cat")
        await self.request("POST", "/async-function/cat", b"", {"X-Callback-Url": f"{url}/stall"})
        self.assertIn("failed", await logged)

    async def test_too_large(self) -> None:
        """A body that the queue of the community edition would not take is not taken here."""
        status, _, body = await self.request("POST", "/async-function/cat", b"x" * 256_001)
        self.assertEqual((status, body), (500, b"Error queuing request: request body too large\n"))
        self.assertEqual((await self.request("POST", "/async-function/cat", b"x" * 256_000))[0], 202)

    async def test_overload(self) -> None:
        """The queue is bounded, and its being full does not stand in the way of other calls."""
        self.gateway._invocations.async_limit = Limit(running=1, waiting=1)
        statuses = [(await self.request("POST", "/async-function/sleep"))[0] for _ in range(3)]
        self.assertEqual(statuses, [202, 202, 500])
        self.assertEqual((await self.request("POST", "/function/cat"))[0], 200)


class SystemTests(GatewayTests):
    async def get(self, path: str, **more: Any) -> Any:
        status, headers, body = await self.request("GET", path, **more)
        self.assertEqual((status, headers.getRawHeaders("Content-Type")), (200, ["application/json"]))
        return json.loads(body)

    async def test_functions(self) -> None:
        """Functions are listed as OpenFaaS lists them, with their calls so far."""
        await self.request("POST", "/function/cat")
        listed = {function["name"]: function for function in await self.get("/system/functions")}
        self.assertEqual(set(listed), {"cat", "env", "fail", "sleep"})
        self.assertEqual(
            listed["cat"],
            {
                "name": "cat",
                "namespace": "openfaas-fn",
                "image": "cat:1",
                "envProcess": "cat",
                "labels": {"tier": "1"},
                "annotations": {"topic": "echo"},
                "replicas": 1,
                "availableReplicas": 1,
                "invocationCount": 1,
            },
        )

    async def test_namespaces(self) -> None:
        """Each namespace has its own list; one without functions an empty one."""
        self.assertEqual(await self.get("/system/namespaces"), ["openfaas-fn", "staging"])
        [function] = await self.get("/system/functions?namespace=staging")
        self.assertEqual(function["name"], "staged")
        self.assertEqual(await self.get("/system/functions?namespace=nope"), [])

    async def test_other_paths(self) -> None:
        """Nothing else is there, and nothing can be deployed."""
        self.assertEqual((await self.request("GET", "/system/info"))[0], 404)
        self.assertEqual((await self.request("GET", "/system/functions/x"))[0], 404)
        self.assertEqual((await self.request("POST", "/system/functions"))[0], 405)

    async def test_healthz(self) -> None:
        """It says that it is up."""
        self.assertEqual((await self.request("GET", "/healthz"))[0], 200)


class WebPageTests(GatewayTests):
    """What a browser sends for a page of somebody else neither runs a function nor is answered."""

    async def send(self, head: str) -> bytes:
        """The answer to a request with these lines, to its end."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", int(self.gateway.url.rpartition(":")[2]))
        client = await connectProtocol(endpoint, Reader())
        assert client.transport is not None
        client.transport.write(head.replace("\n", "\r\n").encode() + b"\r\nConnection: close\r\n\r\n")
        answer: bytes = await client.lost
        return answer

    async def refused(self, path: str, lines: str, reason: str) -> None:
        for method in ("GET", "POST"):
            answer = await self.send(f"{method} {path} HTTP/1.1\nContent-Length: 0\n{lines}")
            self.assertTrue(answer.startswith(b"HTTP/1.1 403 "), answer)
            self.assertIn(reason.encode(), answer)
        self.assertEqual(self.gateway._invocations.counts, {})

    async def test_rebinding(self) -> None:
        """A name that is not ours is refused on every path, whatever address it resolves to."""
        for path in ("/function/cat", "/async-function/cat", "/system/functions", "/healthz", "/nothing"):
            await self.refused(path, "Host: evil.example", "the Host 'evil.example' is not one of this server")

    async def test_foreign_origin(self) -> None:
        """So is a page of another origin that names us as we are named."""
        host = f"Host: {self.gateway.url[7:]}"
        for path in ("/function/cat", "/async-function/cat", "/system/functions"):
            await self.refused(path, f"{host}\nOrigin: http://evil.example", "the Origin 'http://evil.example' is not")
            await self.refused(path, f"{host}\nSec-Fetch-Site: cross-site", "a page of another site sent this")

    async def test_own(self) -> None:
        """Our names are answered, with and without the Origin of a page of our own."""
        port = self.gateway.url.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost", "[::1]", "gateway.team.svc"):
            for more in ("", f"\nOrigin: http://{host}:{port}", "\nSec-Fetch-Site: none"):
                answer = await self.send(f"GET /function/cat HTTP/1.1\nHost: {host}:{port}{more}")
                self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)


class CredentialsTests(GatewayTests):
    credentials = ("admin", "s3cret:ü")

    async def test_system(self) -> None:
        """`/system/` is closed without the right user and password, whatever else is sent."""
        for path in ("/system/functions", "/system/namespaces", "/system/x"):
            for auth in (None, ("admin", "wrong"), ("root", "s3cret:ü"), ("", ""), ("admin", "")):
                status, _, body = await self.request("GET", path, auth=auth)
                self.assertEqual((status, body), (401, b"invalid credentials"))
        for header in ("Basic", "Basic !", "Bearer x", "Basic YWRtaW4="):
            status, _, _ = await self.request("GET", "/system/functions", headers={"Authorization": header})
            self.assertEqual(status, 401)
        status, _, _ = await self.request("GET", "/system/functions", auth=self.credentials)
        self.assertEqual(status, 200)

    async def test_others(self) -> None:
        """Calls and health need no credentials; those that are sent reach the function."""
        self.assertEqual((await self.request("GET", "/healthz"))[0], 200)
        self.assertEqual((await self.request("POST", "/async-function/cat"))[0], 202)
        status, _, body = await self.request("POST", "/function/env", auth=("a", "b"))
        self.assertEqual(status, 200)
        self.assertIn(b"\nHttp_Authorization=Basic YTpi\n", body)


class StopTests(GatewayTests):
    async def test_idle_connections(self) -> None:
        """Connections that clients keep are closed, without force, and no more are taken."""
        self.patch(_Channel, "abort", self.fail)
        pool = HTTPConnectionPool(reactor)
        self.addCleanup(pool.closeCachedConnections)
        self.http = HTTPClient(Agent(reactor, pool=pool))
        await self.request("GET", "/healthz")
        url = self.gateway.url
        await self.gateway.stop()
        self.assertEqual(self.gateway._site.connections, 0)
        await self.assertFailure(HTTPClient(Agent(reactor)).get(url, reactor=reactor), Exception)

    async def test_late_call(self) -> None:
        """A call that comes on an open connection while the gateway stops is killed in the end, too."""
        await self.call_late("function")

    async def test_late_async_call(self) -> None:
        """So is one whose answer nobody waits for."""
        await self.call_late("async-function")

    async def call_late(self, route: str) -> None:
        self.patch(gateway_module, "STOP_GRACE_S", 20)
        released = self.mktemp()
        script = f"echo started >&2; until [ -e {os.path.abspath(released)} ]; do sleep 0.01; done"
        self.functions["held"] = Function("held", f"sh -c '{script}'")
        url = self.gateway.url
        started = self.when_logged("held: started")
        held = Deferred.fromCoroutine(self.request("POST", "/function/held"))
        await started
        idle: Any = await TCP4ClientEndpoint(reactor, "127.0.0.1", int(url.rpartition(":")[2])).connect(
            Factory.forProtocol(Deaf)
        )
        # Connections are taken in order: when this is answered, the one before has been taken.
        await self.request("GET", "/healthz")
        stopping = self.gateway.stop()
        running = self.when_logged("sleep: running")
        idle.transport.write(f"POST /{route}/sleep HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
        await running
        open(released, "w").close()
        self.assertEqual((await held)[0], 200)
        await stopping
        self.assertEqual(self.gateway._invocations._processes._running, set())
        idle.transport.abortConnection()
        await idle.lost

    async def test_running_call(self) -> None:
        """A call that ends within the grace is answered."""
        self.functions["brief"] = Function("brief", "sh -c 'echo started >&2; sleep 0.2; echo done'")
        self.patch(gateway_module, "STOP_GRACE_S", 20)
        started = self.when_logged("brief: started")
        answering = Deferred.fromCoroutine(self.request("POST", "/function/brief"))
        await started
        await self.gateway.stop()
        status, _, body = await answering
        self.assertEqual((status, body), (200, b"done\n"))

    async def test_kill(self) -> None:
        """What still runs after the grace, in both ways of calling, is killed, and what waits is dropped."""
        self.patch(gateway_module, "STOP_GRACE_S", 0.05)
        self.gateway._invocations.async_limit = Limit(running=1)
        running = self.when_logged("sleep: running")
        await self.request("POST", "/async-function/sleep")
        await running
        await self.request("POST", "/async-function/sleep")
        running = self.when_logged("sleep: running")
        answering: Any = self.http.post(self.gateway.url + "/function/sleep", reactor=reactor)
        await running
        await self.gateway.stop()
        self.assertEqual(self.gateway._invocations._processes._running, set())
        await self.assertFailure(answering, Exception)

    async def test_left_running(self) -> None:
        """What a function has left running ends with the gateway."""
        fifo = os.path.abspath(self.mktemp())
        os.mkfifo(fifo)
        program = f"sleep 60 >{fifo} 2>/dev/null <&-"
        self.functions["leaves"] = Function("leaves", f"sh -c '{program} & echo ok'")
        reading = deferToThread(Path(fifo).read_bytes)
        self.assertEqual((await self.request("POST", "/function/leaves"))[2], b"ok\n")
        self.assertFalse(reading.called)
        await self.gateway.stop()
        self.assertEqual(await reading, b"")

    async def test_client_that_does_not_read(self) -> None:
        """A client that leaves its answer unread does not hold up the stop."""
        self.functions["much"] = Function("much", "head -c 16000000 /dev/zero")
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", int(self.gateway.url.rpartition(":")[2]))
        logged = self.when_logged("POST /function/much -> 200")
        client = await connectProtocol(endpoint, Deaf())
        assert client.transport is not None
        client.transport.write(b"POST /function/much HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        await logged
        await self.gateway.stop()
        self.assertEqual(self.gateway._site.connections, 0)
        client.transport.abortConnection()
        await client.lost

    async def test_twice(self) -> None:
        """Stopping what has stopped, or never started, does nothing."""
        await self.gateway.stop()
        await self.gateway.stop()
        await LocalGateway(reactor, {}).stop()

    async def test_url(self) -> None:
        """There is a URL only while it listens."""
        self.assertTrue(re.fullmatch(r"http://127\.0\.0\.1:\d+", self.gateway.url))
        await self.gateway.stop()
        with self.assertRaises(RuntimeError):
            _ = self.gateway.url


class Reader(Protocol):
    """Reads to the end."""

    def __init__(self) -> None:
        self.lost: Deferred[bytes] = Deferred()
        self.read = b""

    def dataReceived(self, data: bytes) -> None:
        self.read += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(self.read)


class Deaf(Protocol):
    """Never reads."""

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.pauseProducing()  # type: ignore[union-attr]

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)

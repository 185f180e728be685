"""The paths of an OpenFaaS gateway, as twisted.web Resources over ``Invocations``."""

from __future__ import annotations

import hmac
import json
import re
import time
from http import HTTPStatus
from urllib.parse import urlsplit
from uuid import uuid4

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request

from natsconnector.local.invocations import Invocations
from natsconnector.local.processes import DEFAULT_NAMESPACE, Call

#: The community edition's limit, which keeps the heap of waiting calls small as well.
MAX_ASYNC_REQUEST_BYTES = 256_000

_NAME = re.compile(rb"[-a-zA-Z_0-9.]+")
# Those that the classic watchdog answers.
_METHODS = frozenset([b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"])


class GatewayResource(Resource):
    """
    The root.

    :param credentials: user and password asked for on ``/system/``; None leaves it open. Calls are always open, as they
        are at the community edition's gateway.
    """

    def __init__(self, invocations: Invocations, credentials: tuple[str, str] | None) -> None:
        super().__init__()
        self.putChild(b"function", _SyncCall(invocations))
        self.putChild(b"async-function", _AsyncCall(invocations))
        self.putChild(b"system", _System(invocations, credentials))
        self.putChild(b"healthz", _Health())

    def getChild(self, path: bytes, request: Request) -> IResource:
        return _NotFound()


class _NotFound(Resource):
    isLeaf = True

    def render(self, request: Request) -> bytes:
        return _text(request, HTTPStatus.NOT_FOUND, "404 page not found\n")


class _Health(Resource):
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return _text(request, HTTPStatus.OK, "OK")


class _FunctionRoute(Resource):
    """What calls of both kinds have in common: ``/NAME[/PATH]``, and the headers that mark a gateway's answer."""

    isLeaf = True
    methods: frozenset[bytes]
    max_bytes: int
    _log = Logger()

    def __init__(self, invocations: Invocations) -> None:
        super().__init__()
        self._invocations = invocations

    def render(self, request: Request) -> bytes | int:
        assert request.postpath is not None and request.content is not None
        name, *rest = request.postpath or [b""]
        if not _NAME.fullmatch(name):
            return _NotFound().render(request)
        if request.method not in self.methods:
            return _text(request, HTTPStatus.METHOD_NOT_ALLOWED)
        request.setHeader(b"X-Start-Time", b"%d" % time.time_ns())
        request.setHeader(b"X-Served-By", b"natsconnector-local")
        if not request.getHeader(b"X-Call-Id"):
            call_id = str(uuid4()).encode()
            request.requestHeaders.setRawHeaders(b"X-Call-Id", [call_id])
            request.setHeader(b"X-Call-Id", call_id)
        body = request.content.read()
        query = request.uri.partition(b"?")[2]
        call = Call(request.method, b"/" + b"/".join(rest), query, request.requestHeaders, body)
        return self.start(request, name.decode("ascii"), call)

    def start(self, request: Request, name: str, call: Call) -> bytes | int:
        raise NotImplementedError


class _SyncCall(_FunctionRoute):
    methods = _METHODS

    def start(self, request: Request, name: str, call: Call) -> bytes | int:
        if not self._invocations.sync_limit.has_room(len(call.body)):
            self._log.warn(
                "{function} refused: {reason}", function=name, reason="too many calls wait", event="local_call_refused"
            )
            return _text(request, HTTPStatus.TOO_MANY_REQUESTS, "too many calls\n")
        work = Deferred.fromCoroutine(self._answer(request, name, call))
        # The notice of a request also comes as a failure, when the client has left: its process is no longer needed.
        request.notifyFinish().addErrback(lambda _: work.cancel())
        self._invocations.track(work)
        return NOT_DONE_YET

    async def _answer(self, request: Request, name: str, call: Call) -> None:
        try:
            answer = await self._invocations.call(name, call)
        except CancelledError:
            self._log.info("{function} broken off", function=name, event="local_call_cancelled")
            raise
        request.setResponseCode(answer.status)
        request.setHeader(b"Content-Type", answer.content_type)
        request.setHeader(b"X-Duration-Seconds", b"%f" % answer.duration_s)
        request.setHeader(b"Content-Length", b"%d" % len(answer.body))
        request.write(answer.body)
        request.finish()
        self._log.info(
            "{method} {path} -> {status} in {duration_s:.3f} s, {size_bytes} bytes",
            method=request.method.decode("ascii", "backslashreplace"),
            path=request.path.decode("ascii", "backslashreplace"),
            status=int(answer.status),
            duration_s=answer.duration_s,
            size_bytes=len(answer.body),
            event="local_call",
        )


class _AsyncCall(_FunctionRoute):
    methods = frozenset([b"POST"])

    def start(self, request: Request, name: str, call: Call) -> bytes | int:
        callback_url = (request.getHeader(b"X-Callback-Url") or b"").decode("utf-8", "replace")
        try:
            # Reading the port checks it. Apart from the port the real gateway takes anything, an empty value too.
            _ = urlsplit(callback_url).port
        except ValueError as error:
            return _text(request, HTTPStatus.BAD_REQUEST, f"X-Callback-Url: {error}\n")
        if len(call.body) > MAX_ASYNC_REQUEST_BYTES:
            return self._refuse(request, name, "request body too large")
        if not self._invocations.async_limit.has_room(len(call.body)):
            return self._refuse(request, name, "the queue is full")
        call_id = request.requestHeaders.getRawHeaders(b"X-Call-Id", [b""])[0]
        self._invocations.call_later(name, call, call_id, callback_url)
        return _text(request, HTTPStatus.ACCEPTED)

    def _refuse(self, request: Request, name: str, why: str) -> bytes:
        self._log.warn("async {function} refused: {reason}", function=name, reason=why, event="local_call_refused")
        return _text(request, HTTPStatus.INTERNAL_SERVER_ERROR, f"Error queuing request: {why}\n")


class _System(Resource):
    """``/system/functions`` and ``/system/namespaces``, behind basic auth if there are credentials."""

    isLeaf = True

    def __init__(self, invocations: Invocations, credentials: tuple[str, str] | None) -> None:
        super().__init__()
        self._invocations = invocations
        self._credentials = credentials

    def render(self, request: Request) -> bytes:
        if not self._allowed(request):
            request.setHeader(b"WWW-Authenticate", b'Basic realm="Restricted"')
            return _text(request, HTTPStatus.UNAUTHORIZED, "invalid credentials")
        if request.postpath not in ([b"functions"], [b"namespaces"]):
            return _NotFound().render(request)
        if request.method != b"GET":
            return _text(request, HTTPStatus.METHOD_NOT_ALLOWED)
        functions = list(self._invocations.functions.values())
        if request.postpath == [b"namespaces"]:
            return _json(request, sorted({DEFAULT_NAMESPACE} | {function.namespace for function in functions}))
        asked = request.args.get(b"namespace", [b""])[0].decode("utf-8", "replace") or DEFAULT_NAMESPACE
        listed = [
            {
                "name": function.name,
                "namespace": function.namespace,
                "image": function.image,
                "envProcess": function.fprocess,
                "labels": dict(function.labels),
                "annotations": dict(function.annotations),
                "replicas": 1,
                "availableReplicas": 1,
                "invocationCount": self._invocations.counts[f"{function.name}.{function.namespace}"],
            }
            for function in functions
            if function.namespace == asked
        ]
        return _json(request, listed)

    def _allowed(self, request: Request) -> bool:
        if self._credentials is None:
            return True
        given = (request.getUser(), request.getPassword())
        # Both are compared, each in constant time, so that the duration tells nothing.
        matches = [hmac.compare_digest(a, b.encode()) for a, b in zip(given, self._credentials, strict=True)]
        return all(matches)


def _text(request: Request, status: int, text: str = "") -> bytes:
    return _reply(request, status, b"text/plain; charset=utf-8", text.encode())


def _json(request: Request, value: object) -> bytes:
    return _reply(request, HTTPStatus.OK, b"application/json", json.dumps(value).encode())


def _reply(request: Request, status: int, content_type: bytes, body: bytes) -> bytes:
    request.setResponseCode(status)
    if body:
        request.setHeader(b"Content-Type", content_type)
    return body

"""The port to which the gateway's queue-worker posts results. It answers nothing else."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from natsconnector.callbacks.receiver import Answer, Receiver
from natsconnector.callbacks.seal import Ticket
from natsconnector.model.seams import ICallbacks
from natsconnector.reactors import Reactor
from natsconnector.web.listening import Listening
from natsconnector.web.request import BoundedRequest
from natsconnector.web.site import Bounds, QuietSite

# A result has the headers of its function. How large a body may be depends on the NATS server, see CallbackRequest.
BOUNDS = Bounds(connections=64, head_bytes=64 * 1024, header_lines=300, body_s=30.0, idle_s=60.0)
_RETRY_AFTER_S = 5
_FINISH_S = 2.0
_CLOSE_S = 0.5


class CallbackRequest(BoundedRequest):
    """
    A request whose body is kept only if its path was sealed by one of us: who has no such URL cannot make us keep any.
    """

    _ticket: Ticket | None = None
    _is_looked_at = False

    @property
    def ticket(self) -> Ticket | None:
        """What the path was sealed for; None if it was not."""
        return self._look(self.uri)

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory, within its bound: Twisted would put a large one into a file."""
        self.content = BytesIO()
        channel: Any = self.channel
        if channel._command == b"POST":
            self._look(channel._path)

    @property
    def takes_body(self) -> bool:
        """Only where the path is genuine: who has no sealed URL costs no more than a head."""
        return self._ticket is not None

    def _look(self, target: bytes) -> Ticket | None:
        if not self._is_looked_at:
            self._is_looked_at = True
            self._ticket = self._site.receiver.ticket(target)
        return self._ticket

    def _limit_bytes(self) -> int:
        return self._site.max_body_bytes() if self._ticket is not None else 0

    @property
    def _site(self) -> CallbackSite:
        channel: Any = self.channel
        site: CallbackSite = channel.site
        return site


class CallbackSite(QuietSite):
    """A site of one resource, which judges every request itself."""

    def __init__(self, reactor: Reactor, receiver: Receiver, max_body_bytes: Callable[[], int]) -> None:
        super().__init__(_Callbacks(receiver), reactor, bounds=BOUNDS)
        self.requestFactory = CallbackRequest
        self.receiver = receiver
        self.max_body_bytes = max_body_bytes

    def getResourceFor(self, request: Request) -> IResource:
        """The resource, also for a body that is too large: it is refused with a result that says so."""
        request.responseHeaders.removeHeader(b"Server")
        found: IResource = self.resource
        return found


class _Callbacks(Resource):
    isLeaf = True

    def __init__(self, receiver: Receiver) -> None:
        super().__init__()
        self._receiver = receiver

    def render(self, request: CallbackRequest) -> int:
        assert request.content is not None
        if request.ticket is None:
            # Whoever guesses does so at the cost of a connection each.
            request.answer_last()
        if request.method != b"POST":
            request.setHeader(b"Allow", b"POST")
            _answer(request, Answer(http.NOT_ALLOWED, "POST only"))
            return NOT_DONE_YET
        is_open = [True]
        request.notifyFinish().addErrback(lambda _: is_open.clear())
        headers = [
            (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
            for name, values in request.requestHeaders.getAllRawHeaders()
            for value in values
        ]
        body = None if request.is_too_large else request.content.read()
        taken = self._receiver.take(request.ticket, headers, body)
        taken.addCallback(lambda answer: _answer(request, answer) if is_open else None)
        return NOT_DONE_YET


def _answer(request: Request, answer: Answer) -> None:
    request.setResponseCode(answer.status)
    body = f"{answer.text}\n".encode() if answer.text else b""
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    request.setHeader(b"Content-Length", b"%d" % len(body))
    if answer.status == http.SERVICE_UNAVAILABLE:
        request.setHeader(b"Retry-After", b"%d" % _RETRY_AFTER_S)
    if request.method != b"HEAD":
        request.write(body)
    request.finish()


@implementer(ICallbacks)
class Listener:
    """
    Listens for callbacks, from :meth:`open` to :meth:`stop`.

    :param endpoint: where, as Twisted's ``serverFromString`` takes it.
    :param max_body_bytes: tells how large a result may be at the moment.
    :param over: is called at the end.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        receiver: Receiver,
        *,
        endpoint: str,
        max_body_bytes: Callable[[], int],
        over: Callable[[], object],
    ) -> None:
        self._receiver = receiver
        self._over = over
        self.site = CallbackSite(reactor, receiver, max_body_bytes)
        self._listening = Listening(reactor, endpoint, self.site)

    def open(self) -> None:
        """
        Listen.

        :raises SystemExit: the endpoint cannot be had; the text says why.
        """
        if (fault := self._listening.open()) is not None:
            raise SystemExit(f"natsconnector: cannot listen on --callback-listen {self._listening.endpoint}: {fault}")

    def start(self) -> None:
        """Tell where it listens."""
        text = "results of asynchronous calls come in on {endpoint}"
        self._log.info(text, endpoint=self._listening.endpoint, event="callbacks_open")

    def stop(self) -> Deferred[None]:
        """Take no more, and finish what is in hand; fires when all connections are closed."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._listening.stop()
        await self._receiver.stop(_FINISH_S)
        await self.site.close(_CLOSE_S)
        self._over()

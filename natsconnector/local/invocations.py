"""Who is called, how many at once, and what becomes of the answers of asynchronous calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore, succeed
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, _HTTP11ClientFactory
from twisted.web.http_headers import Headers

from natsconnector.local.processes import DEFAULT_NAMESPACE, Answer, Call, Function, FunctionProcesses
from natsconnector.reactors import Reactor

MAX_RUNNING = 32
MAX_WAITING = 4096
MAX_WAITING_BYTES = 64 * 1024 * 1024
CALLBACK_TIMEOUT_S = 30.0
# What the commercial edition's queue-worker tries again, and how long it waits.
_RETRIED = frozenset((408, 429, 500, 502, 503, 504))
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0

_T = TypeVar("_T")


class _QuietFactory(_HTTP11ClientFactory):
    """Twisted's has a log line for each connection."""

    noisy = False


class Limit:
    """
    How many calls are made at once, and how many more may wait for their turn.

    :param running: at once.
    :param waiting: beyond those.
    :param waiting_bytes: of all that wait together.
    """

    def __init__(
        self, running: int = MAX_RUNNING, waiting: int = MAX_WAITING, waiting_bytes: int = MAX_WAITING_BYTES
    ) -> None:
        self._turns = DeferredSemaphore(running)
        self._max_waiting = waiting
        self._free_bytes = waiting_bytes

    def has_room(self, size_bytes: int) -> bool:
        """Whether one more could run now or wait."""
        return self._turns.tokens > 0 or (
            len(self._turns.waiting) < self._max_waiting and size_bytes <= self._free_bytes
        )

    async def run(self, work: Callable[[], Deferred[_T]], size_bytes: int) -> _T:
        """
        Start ``work`` when its turn comes. For the caller to ask before: ``has_room``.

        :param size_bytes: what the work holds while it waits.
        """
        self._free_bytes -= size_bytes
        try:
            await self._turns.acquire()
        finally:
            self._free_bytes += size_bytes
        try:
            return await work()
        finally:
            self._turns.release()


class Invocations:
    """
    Calls of functions by name, at once or later.

    Both ways have a limit of their own, so that a heap of asynchronous calls does not keep others waiting.

    :param timeout_s: of each call.
    :param retries: how often an asynchronous call that failed is made again, and its callback posted again.
    :ivar functions: by ``name`` or ``name.namespace``; may be changed at any time.
    :ivar counts: calls so far, by ``name.namespace``.
    """

    _log = Logger()

    def __init__(self, reactor: Reactor, functions: dict[str, Function], timeout_s: float, retries: int = 0) -> None:
        self.functions = functions
        self.counts: Counter[str] = Counter()
        self.sync_limit = Limit()
        # The queue-worker of the community edition makes one call after the other.
        self.async_limit = Limit(running=1)
        self._retries = retries
        self._reactor = reactor
        self._processes = FunctionProcesses(reactor, timeout_s)
        # Each callback has a connection of its own, so that none is left to be closed at the end.
        # treq has a jar of its own since 24.9, and takes this one as well.
        no_cookies: Any = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        pool = HTTPConnectionPool(reactor, persistent=False)
        pool._factory = _QuietFactory
        self._http = HTTPClient(Agent(reactor, connectTimeout=CALLBACK_TIMEOUT_S, pool=pool), no_cookies)
        self._under_way: set[Deferred[None]] = set()

    def call(self, name: str, call: Call) -> Deferred[Answer]:
        """
        Answer with a function; 404 if there is none of that name. Cancelling ends the call.

        :param name: ``name``, or ``name.namespace``.
        """
        return Deferred.fromCoroutine(self.sync_limit.run(lambda: self._run(name, call), len(call.body)))

    def call_later(self, name: str, call: Call, call_id: bytes, callback_url: str) -> None:
        """
        Call as ``call`` does, some time, and POST the answer back.

        :param callback_url: where to; empty for nowhere.
        """

        def work() -> Deferred[None]:
            return Deferred.fromCoroutine(self._call_and_call_back(name, call, call_id, callback_url))

        self.track(Deferred.fromCoroutine(self.async_limit.run(work, len(call.body))))

    def track(self, work: Deferred[None]) -> None:
        """Have ``finish`` wait for ``work``, whose failures are logged."""
        self._under_way.add(work)

        def ended(result: Failure | None) -> None:
            self._under_way.discard(work)
            if isinstance(result, Failure) and not result.check(CancelledError):
                self._log.failure("call failed", failure=result, event="defect")

        work.addBoth(ended)

    def finish(self, grace_s: float) -> Deferred[None]:
        """
        Fires when the calls that are under way now are done.

        :param grace_s: those that are not done by then are cancelled.
        """
        # Cancelling the list, which its time-out does, cancels each of its members.
        under_way = DeferredList(list(self._under_way))
        return under_way.addTimeout(grace_s, self._reactor).addCallback(lambda _: None)

    def when_idle(self) -> Deferred[None]:
        """Fires when the processes of calls, also of cancelled ones, are gone."""
        return self._processes.when_idle()

    def kill_left(self) -> None:
        """End what functions have left running after their answers."""
        self._processes.kill_left()

    def _run(self, name: str, call: Call) -> Deferred[Answer]:
        short_name, dot, namespace = name.rpartition(".")
        if not dot:
            short_name, namespace = name, DEFAULT_NAMESPACE
        full_name = f"{short_name}.{namespace}"
        for key in (full_name, short_name):
            function = self.functions.get(key)
            if function is not None and function.namespace == namespace:
                self.counts[full_name] += 1
                return self._processes.run(function, call)
        body = f"error finding function {full_name}: not found\n"
        return succeed(Answer(HTTPStatus.NOT_FOUND, body.encode()))

    async def _call_and_call_back(self, name: str, call: Call, call_id: bytes, callback_url: str) -> None:
        answer = await self._run(name, call)
        for pause_s in self._pauses():
            if answer.status not in _RETRIED:
                break
            await deferLater(self._reactor, pause_s)
            answer = await self._run(name, call)
        self._log.info(
            "async {function} -> {status} in {duration_s:.3f} s, {size_bytes} bytes, call {call_id}",
            function=name,
            status=int(answer.status),
            duration_s=answer.duration_s,
            size_bytes=len(answer.body),
            call_id=call_id.decode("ascii", "backslashreplace"),
            event="local_async_call",
        )
        if callback_url and not await self._call_back(name, answer, call_id, callback_url):
            for pause_s in self._pauses():
                await deferLater(self._reactor, pause_s)
                if await self._call_back(name, answer, call_id, callback_url):
                    break

    def _pauses(self) -> Iterator[float]:
        """The waits before further attempts: none, as the community edition's queue-worker has it, unless asked for."""
        return (min(_FIRST_PAUSE_S * 2**number, _LONGEST_PAUSE_S) for number in range(self._retries))

    async def _call_back(self, name: str, answer: Answer, call_id: bytes, url: str) -> bool:
        """Post an answer; whether that was taken, or is refused for good."""
        headers = Headers(
            {
                b"Content-Type": [answer.content_type],
                b"X-Call-Id": [call_id],
                b"X-Function-Name": [name.encode()],
                b"X-Function-Status": [b"%d" % answer.status],
                b"X-Duration-Seconds": [b"%f" % answer.duration_s],
            }
        )
        # Without userinfo and query: both may carry secrets.
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        try:
            response = await self._http.request(
                "POST",
                url,
                data=answer.body,
                headers=headers,
                allow_redirects=False,
                unbuffered=True,
                reactor=cast(Any, self._reactor),  # the same in a type of treq's own
            ).addTimeout(CALLBACK_TIMEOUT_S, self._reactor)
        except CancelledError:
            raise
        except Exception as error:
            # Whatever is wrong with the URL or its server concerns this callback only.
            self._log.warn(
                "callback of {function} to {url} failed: {reason}",
                function=name, url=place, reason=repr(error), event="local_callback_failed",
            )  # fmt: skip
            return False
        response.deliverBody(_Unread())
        self._log.info(
            "callback of {function} to {url} -> {status}",
            function=name, url=place, status=response.code, event="local_callback",
        )  # fmt: skip
        return response.code not in _RETRIED


class _Unread(Protocol):
    """Takes a body that nobody wants by closing the connection."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

"""HTTP with the gateway: one request, one whole answer, within a deadline and a size."""

from __future__ import annotations

from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from natsconnector import __version__
from natsconnector.gateway.body import BodyTooLarge, read_body
from natsconnector.gateway.endpoint import TlsFault, gateway_endpoint

USER_AGENT = f"natsconnector/{__version__}"

_CONNECT_TIMEOUT_S = 10.0
# Shorter than the idle time-out of any gateway in use, so that it is we who close a connection nobody needs: one that
# the gateway closes under a request cannot be told from a call that broke off.
_IDLE_CONNECTION_S = 30


@dataclass(frozen=True, slots=True)
class Response:
    """A whole HTTP answer."""

    status: int
    headers: Headers
    body: bytes


class NoResponse(Exception):
    """
    There is no whole answer.

    :ivar reason: why, in a few words.
    :ivar sent: whether anything of the request can have reached the gateway.
    """

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent


class ResponseTooLarge(NoResponse):
    """The answer's body exceeds the limit."""


class Late(NoResponse):
    """The deadline passed."""


class GivenUp(NoResponse):
    """The caller cancelled."""


@implementer(IAgentEndpointFactory)
class _OneEndpoint:
    """The gateway's endpoint, made once: to make it anew for each call costs a tenth of the call."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self._endpoint


class GatewayHttp:
    """
    HTTP with one gateway over a pool of kept connections. No redirect is followed, no cookie kept, nothing tried again.

    :param url: the gateway's base URL, without a slash at the end.
    :param connect_timeout_s: for connecting, but never more than ten seconds.
    :param max_connections: how many idle connections are kept; how many requests run at once is the caller's to bound.
    :param max_response_bytes: of an answer's body, unpacked; the connection of a longer one is closed.
    :param ca_file: PEM file of the authorities that are trusted for ``https``; None trusts the system's.
    """

    def __init__(
        self,
        reactor: Any,
        url: str,
        *,
        connect_timeout_s: float,
        max_connections: int,
        max_response_bytes: int,
        ca_file: str | None,
    ) -> None:
        self._reactor = reactor
        self._url = url
        self._max_response_bytes = max_response_bytes
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = max_connections
        self._pool.cachedConnectionTimeout = _IDLE_CONNECTION_S
        self._pool.retryAutomatically = False
        self._pool._factory.noisy = False
        endpoint = gateway_endpoint(reactor, url, min(connect_timeout_s, _CONNECT_TIMEOUT_S), ca_file)
        self._http = HTTPClient(
            Agent.usingEndpointFactory(reactor, _OneEndpoint(endpoint), pool=self._pool),
            cookiejar=IndexableCookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    def exchange(
        self, method: str, path: str, headers: Headers, body: bytes | None, timeout_s: float
    ) -> Deferred[Response]:
        """
        Send a request. Cancelling closes its connection.

        :param timeout_s: for all of it, connecting and reading the answer's body included.
        :raises NoResponse: (in the Deferred, as everything that goes wrong) there is no whole answer.
        """
        late = answered = False

        def time_out() -> None:
            nonlocal late
            late = True
            exchange.cancel()

        def read(response: IResponse) -> Deferred[Response]:
            nonlocal answered
            answered = True
            content = read_body(response, self._max_response_bytes)
            return content.addCallback(lambda content: Response(response.code, response.headers, content))

        def ended(result: Response | Failure) -> Response:
            if timeout.active():
                timeout.cancel()
            if isinstance(result, Failure):
                raise self._no_response(result, answered, timeout_s if late else None) from None
            return result

        # With no reactor given, treq would import the global one.
        exchange: Deferred[Any] = self._http.request(
            method,
            self._url + path,
            data=body,
            headers=headers,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )
        timeout = self._reactor.callLater(timeout_s, time_out)
        exchange.addCallback(read)
        exchange.addBoth(ended)
        return exchange

    def close(self) -> Deferred[None]:
        """Close the idle connections."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    def _no_response(self, failure: Failure, answered: bool, late_s: float | None) -> NoResponse:
        # Before a connection stands, the gateway has seen nothing. What is cancelled then fails as such; a request
        # that is cancelled later fails as one that broke off.
        sent = answered or not failure.check(
            CancelledError, error.ConnectingCancelledError, error.ConnectError, error.DNSLookupError, RequestNotSent,
            TlsFault,
        )  # fmt: skip
        if late_s is not None:
            return Late(f"{'did not answer' if sent else 'no connection'} within {late_s:g} s", sent=sent)
        if failure.check(BodyTooLarge):
            return ResponseTooLarge(f"larger than {self._max_response_bytes} bytes", sent=True)
        if any(cause.check(CancelledError, error.ConnectingCancelledError) for cause in _causes(failure)):
            return GivenUp("given up", sent=sent)
        return NoResponse(_text(failure), sent=sent)


def _causes(failure: Failure) -> list[Failure]:
    """``failure`` and what it wraps: Twisted's HTTP client reports lists of failures."""
    wrapped = getattr(failure.value, "reasons", None) or []
    return [failure, *(cause for reason in wrapped for cause in _causes(reason))]


def _text(failure: Failure) -> str:
    """The innermost cause in a few words, on one line."""
    cause = _causes(failure)[-1].value
    if isinstance(cause, ResponseFailed):
        return "no answer"
    return " ".join((str(cause) or type(cause).__name__).split())[:200].rstrip(".")

"""Calling functions through an OpenFaaS gateway."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from natsconnector import __version__
from natsconnector.calls import CALL_ID, CALLBACK_URL, FunctionCall, Header
from natsconnector.gateway.body import BodyTooLarge, read_body
from natsconnector.interfaces import IGateway
from natsconnector.outcome import BAD_GATEWAY, OVERLOADED, TIMED_OUT, TOO_LARGE, Outcome, failed

_CONNECT_TIMEOUT_S = 10.0
# Shorter than the idle time-out of any gateway in use, so that it is we who close a connection nobody needs: one that
# the gateway closes under a request cannot be told from a call that broke off.
_IDLE_CONNECTION_S = 30
# What the gateway answers, behind a 500, to a call that its queue will never take.
_PERMANENT_QUEUE_FAULTS = (b"Error queuing request: request body too large", b"Error queuing request: maximum payload")


@implementer(IAgentEndpointFactory)
class _OneEndpoint:
    """The gateway's endpoint, made once: to make it anew for each call costs a tenth of the call."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self._endpoint


def _endpoint(reactor: Any, url: str, connect_timeout_s: float) -> IStreamClientEndpoint:
    parts = urlsplit(url)
    assert parts.hostname is not None
    tls = parts.scheme == "https"
    endpoint = HostnameEndpoint(reactor, parts.hostname, parts.port or (443 if tls else 80), connect_timeout_s)
    return wrapClientTLS(optionsForClientTLS(parts.hostname), endpoint) if tls else endpoint


@implementer(IGateway)
class GatewayClient:
    """
    An OpenFaaS gateway over a pool of kept connections.

    Every retry is the caller's: none is made here, no redirect is followed and no cookie kept.

    :param url: the gateway's base URL, without a slash at the end.
    :param timeout_s: for one call, connecting and reading the answer's body included.
    :param max_connections: how many idle connections are kept; the number of calls at once is the caller's to bound.
    :param max_response_bytes: a longer answer is an outcome of its own (413), and its connection is closed.
    """

    def __init__(
        self,
        reactor: Any,
        url: str,
        *,
        timeout_s: float,
        max_connections: int,
        max_response_bytes: int,
    ) -> None:
        self._reactor = reactor
        self._url = url
        self._timeout_s = timeout_s
        self._max_response_bytes = max_response_bytes
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = max_connections
        self._pool.cachedConnectionTimeout = _IDLE_CONNECTION_S
        self._pool.retryAutomatically = False
        self._pool._factory.noisy = False
        endpoint = _endpoint(reactor, url, min(timeout_s, _CONNECT_TIMEOUT_S))
        self._http = HTTPClient(
            Agent.usingEndpointFactory(reactor, _OneEndpoint(endpoint), pool=self._pool),
            cookiejar=IndexableCookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    def call(self, call: FunctionCall) -> Deferred[Outcome]:
        """Call a function once: ``POST /function/NAME`` or ``/async-function/NAME``, see :class:`IGateway`."""
        route = "async-function" if call.asynchronous else "function"
        given_up: Outcome | None = None

        def time_out() -> None:
            nonlocal given_up
            given_up = failed(TIMED_OUT, f"{call.function} did not answer within {self._timeout_s:g} s")
            exchange.cancel()

        def ended(result: Outcome | Failure) -> Outcome:
            if timeout.active():
                timeout.cancel()
            if given_up is not None:
                return given_up
            return self._without_answer(call, result) if isinstance(result, Failure) else result

        # With no reactor given, treq would import the global one.
        exchange: Deferred[Any] = self._http.post(
            f"{self._url}/{route}/{call.function}",
            data=call.body,
            headers=_request_headers(call),
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )
        timeout = self._reactor.callLater(self._timeout_s, time_out)
        exchange.addCallback(self._read_answer)
        exchange.addBoth(ended)
        return exchange

    def close(self) -> Deferred[None]:
        """Close the idle connections."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    def _read_answer(self, response: IResponse) -> Deferred[Outcome]:
        def complete(body: bytes) -> Outcome:
            return Outcome(
                status=response.code,
                body=body,
                headers=_response_headers(response.headers),
                final=response.code == 500 and body.startswith(_PERMANENT_QUEUE_FAULTS),
                retry_after_s=_retry_after_s(response.headers),
            )

        return read_body(response, self._max_response_bytes).addCallback(complete)

    def _without_answer(self, call: FunctionCall, failure: Failure) -> Outcome:
        """What a failed exchange says about the call: above all, whether it can have been executed."""
        if failure.check(BodyTooLarge):
            reason = f"the answer of {call.function} is larger than {self._max_response_bytes} bytes"
            return failed(TOO_LARGE, reason, final=True)
        if _was_cancelled(failure):
            return failed(OVERLOADED, f"gave up before {call.function} answered; it may have been executed", final=True)
        # Before a connection stands, the gateway has seen nothing of the call.
        if failure.check(error.ConnectError, error.DNSLookupError, RequestNotSent):
            return failed(BAD_GATEWAY, f"the gateway is unreachable: {_text(failure)}", not_executed=True)
        reason = (
            f"the connection broke before {call.function} had answered ({_text(failure)}); it may have been executed"
        )
        return failed(BAD_GATEWAY, reason)


def _request_headers(call: FunctionCall) -> Headers:
    headers = Headers({"User-Agent": [f"natsconnector/{__version__}"], CALL_ID: [call.call_id]})
    if call.content_type is not None:
        headers.addRawHeader("Content-Type", call.content_type)
    if call.callback_url is not None:
        headers.addRawHeader(CALLBACK_URL, call.callback_url)
    for name, value in call.headers:
        headers.addRawHeader(name, value)
    return headers


def _response_headers(headers: Headers) -> tuple[Header, ...]:
    return tuple(
        (name.decode("ascii", "replace"), value.decode("utf-8", "surrogateescape"))
        for name, values in headers.getAllRawHeaders()
        for value in values
    )


def _retry_after_s(headers: Headers) -> float | None:
    """Seconds from now, of a ``Retry-After`` in either of its forms (RFC 9110, 10.2.3); None when it is neither."""
    values = headers.getRawHeaders(b"retry-after")
    if not values:
        return None
    text = values[0].decode("ascii", "replace").strip()
    if text.isdecimal() and len(text) <= 9:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _causes(failure: Failure) -> list[Failure]:
    """``failure`` and what it wraps: Twisted's HTTP client reports lists of failures."""
    wrapped = getattr(failure.value, "reasons", None) or []
    return [failure, *(cause for reason in wrapped for cause in _causes(reason))]


def _was_cancelled(failure: Failure) -> bool:
    return any(cause.check(CancelledError, error.ConnectingCancelledError) for cause in _causes(failure))


def _text(failure: Failure) -> str:
    """The innermost cause in a few words, on one line."""
    cause = _causes(failure)[-1].value
    if isinstance(cause, ResponseFailed):
        return "no answer"
    return " ".join((str(cause) or type(cause).__name__).split())[:200].rstrip(".")

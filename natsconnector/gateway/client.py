"""Calling functions through an OpenFaaS gateway."""

from __future__ import annotations

import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from natsconnector.gateway.credentials import BasicAuth, CredentialsFault
from natsconnector.gateway.exchange import (
    USER_AGENT,
    GatewayHttp,
    GivenUp,
    Late,
    NoResponse,
    Response,
    ResponseTooLarge,
)
from natsconnector.model.call import CALL_ID, CALLBACK_URL, FunctionCall
from natsconnector.model.headers import Header
from natsconnector.model.outcome import BAD_GATEWAY, TIMED_OUT, TOO_LARGE, Outcome, failed, unfinished
from natsconnector.model.seams import IGateway

# What the gateway answers, behind a 500, to a call that its queue will never take.
_PERMANENT_QUEUE_FAULTS = (b"Error queuing request: request body too large", b"Error queuing request: maximum payload")
_PROBE_TIMEOUT_S = 5.0


@implementer(IGateway)
class GatewayClient:
    """
    An OpenFaaS gateway that functions are called through.

    Every retry is the caller's: none is made here, no redirect is followed and no cookie kept.

    :param url: the gateway's base URL, without a slash at the end.
    :param timeout_s: for one call that has none of its own, connecting and reading the answer's body included.
    :param max_connections: how many idle connections are kept; the number of calls at once is the caller's to bound.
    :param max_response_bytes: a longer answer is an outcome of its own (413), and its connection is closed.
    :param credentials: sent with every call that has no ``Authorization`` of its own. The gateway hands them on to
        the function.
    :param ca_file: PEM file of the authorities that are trusted for ``https``; None trusts the system's.
    """

    def __init__(
        self,
        reactor: Any,
        url: str,
        *,
        timeout_s: float,
        max_connections: int,
        max_response_bytes: int,
        credentials: BasicAuth | None = None,
        ca_file: str | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._credentials = credentials
        self._http = GatewayHttp(
            reactor,
            url,
            connect_timeout_s=timeout_s,
            max_connections=max_connections,
            max_response_bytes=max_response_bytes,
            ca_file=ca_file,
        )
        # Whether this gateway marks what it forwards with X-Start-Time.
        self._marks_answers = False

    def call(self, call: FunctionCall) -> Deferred[Outcome]:
        """Call a function once: ``POST /function/NAME`` or ``/async-function/NAME``, see :class:`IGateway`."""
        headers = _request_headers(call)
        if self._credentials is not None and not headers.hasHeader(b"authorization"):
            try:
                headers.addRawHeader("Authorization", self._credentials.authorization())
            except CredentialsFault as e:
                return succeed(failed(BAD_GATEWAY, f"no credentials for the gateway: {e}", not_executed=True))
        route = "async-function" if call.asynchronous else "function"
        timeout_s = self._timeout_s if call.timeout_s is None else call.timeout_s
        exchange: Deferred[Any] = self._http.exchange(
            "POST", f"/{route}/{call.function}", headers, call.body, timeout_s
        )
        return exchange.addCallbacks(self._outcome, _without_response, callbackArgs=(call,), errbackArgs=(call,))

    def probe(self) -> Deferred[bool]:
        """Ask for ``/healthz``: any response at all shows that the gateway can be reached."""
        asked: Deferred[Any] = self._http.exchange("GET", "/healthz", Headers(), None, _PROBE_TIMEOUT_S)
        return asked.addCallbacks(lambda _: True, lambda _: False)

    def close(self) -> Deferred[None]:
        """Close the idle connections."""
        return self._http.close()

    def _outcome(self, answer: Response, call: FunctionCall) -> Outcome:
        if answer.status == 401 and self._credentials is not None:
            self._credentials.forget()
        if not call.asynchronous and not self._was_called(answer):
            reason = f"the gateway answered without having called {call.function} (scaling it from zero timed out)"
            return failed(BAD_GATEWAY, reason, not_executed=True)
        return Outcome(
            status=answer.status,
            body=answer.body,
            headers=_response_headers(answer.headers),
            final=answer.status == 500 and answer.body.startswith(_PERMANENT_QUEUE_FAULTS),
            retry_after_s=_retry_after_s(answer.headers),
        )

    def _was_called(self, answer: Response) -> bool:
        """
        False for an answer that cannot be the function's.

        A gateway whose function does not come up from zero in time answers 200 with nothing in it, without the mark
        of what it has forwarded. Only one that is known to set that mark can be judged by its absence.
        """
        if answer.headers.hasHeader(b"x-start-time"):
            self._marks_answers = True
        elif self._marks_answers and answer.status == 200:
            if not answer.body:
                return False
            # An answer that is a function's, without the mark: it is another gateway by now.
            self._marks_answers = False
        return True


def _without_response(failure: Failure, call: FunctionCall) -> Outcome:
    """What a failed exchange says about the call: above all, whether it can have been executed."""
    problem = failure.value
    assert isinstance(problem, NoResponse)
    if isinstance(problem, ResponseTooLarge):
        return failed(TOO_LARGE, f"the answer of {call.function} is {problem.reason}", final=True)
    if isinstance(problem, GivenUp):
        then = "answered; it may have been executed" if problem.sent else "was called"
        return unfinished(f"gave up before {call.function} {then}", not_executed=not problem.sent)
    if not problem.sent:
        reason = f"the gateway is unreachable: {problem.reason}"
        return replace(failed(BAD_GATEWAY, reason, not_executed=True), gateway_down=True)
    if isinstance(problem, Late):
        return failed(TIMED_OUT, f"{call.function} {problem.reason}")
    reason = f"the connection broke before {call.function} had answered ({problem.reason}); it may have been executed"
    return failed(BAD_GATEWAY, reason)


def _request_headers(call: FunctionCall) -> Headers:
    headers = Headers({"User-Agent": [USER_AGENT], CALL_ID: [call.call_id]})
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

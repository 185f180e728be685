"""What a response, or the lack of one, says about a call: above all, whether the function ran."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import overload

from twisted.python.failure import Failure

from natsconnector.gateway.errors import GivenUp, NoResponse, NotConnected, ResponseTooLarge, TimedOut
from natsconnector.gateway.http1 import Response
from natsconnector.model.call import FunctionCall
from natsconnector.model.headers import Header
from natsconnector.model.outcome import BAD_GATEWAY, TIMED_OUT, TOO_LARGE, Outcome, failed, unfinished

# What an OpenFaaS gateway answers behind a 500 when it cannot queue an asynchronous call.
_NOT_QUEUED = b"Error queuing request: "
# The queue will never take such a request.
_TOO_LARGE = (b"request body too large", b"maximum payload", b"nats: maximum payload")
# The NATS client of the gateway refused before anything left it. Not `nats: timeout`: the queue may have the call, and
# only its acknowledgement not have come.
_NOT_PUBLISHED = re.compile(
    rb"nats: (outbound buffer limit exceeded|connection closed|connection draining|invalid connection"
    rb"|no servers available for connection|server is disconnected)|stan: invalid connection"
)
# A gateway that scales from zero says this when it cannot look a function up, and also when its provider is away; only
# the provider's own 404 means that there is no such function.
_NOT_FOUND = b"error finding function "
_PROVIDER_SAYS_NO = b"non-200 status code (404)"

START_TIME = b"X-Start-Time"
"""The gateway's mark on what its function routes answer."""


class ResponseHeaders(Sequence[Header]):
    """The headers of a response as text, made when somebody looks: of most calls nobody asks for an answer."""

    __slots__ = ("_headers", "_response")

    def __init__(self, response: Response) -> None:
        self._response = response
        self._headers: tuple[Header, ...] | None = None

    def _texts(self) -> tuple[Header, ...]:
        headers = self._headers
        if headers is None:
            found = []
            for line in self._response.head.decode("utf-8", "surrogateescape").split("\r\n")[1:]:
                name, _, value = line.partition(":")
                found.append((name, value.strip(" \t")))
            headers = self._headers = tuple(found)
        return headers

    # That of Sequence goes by the index.
    def __iter__(self) -> Iterator[Header]:
        return iter(self._texts())

    @overload
    def __getitem__(self, index: int) -> Header: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Header, ...]: ...
    def __getitem__(self, index: int | slice) -> Header | tuple[Header, ...]:
        return self._texts()[index]

    def __len__(self) -> int:
        return len(self._texts())

    def __eq__(self, other: object) -> bool:
        return self._texts() == (other._texts() if isinstance(other, ResponseHeaders) else other)

    def __hash__(self) -> int:
        return hash(self._texts())

    def __repr__(self) -> str:
        return repr(self._texts())


def outcome_of(response: Response, call: FunctionCall, marks_answers: bool) -> Outcome:
    """
    What an answer says.

    :param marks_answers: this gateway is known to set ``X-Start-Time`` on whatever its function routes answer.
    """
    status = response.status
    if 200 <= status < 300:
        return Outcome(status, response.body, ResponseHeaders(response))
    not_executed = final = gateway_down = not_deployed = False
    if status == 500:
        if call.asynchronous and response.body.startswith(_NOT_QUEUED):
            reason = response.body[len(_NOT_QUEUED) : 1000]
            final = reason.startswith(_TOO_LARGE)
            not_executed = not final and _NOT_PUBLISHED.search(reason) is not None
    elif status == 404:
        if not call.asynchronous and _is_lookup_fault(response, call):
            not_deployed = _PROVIDER_SAYS_NO in response.body[:1000]
            gateway_down = not_executed = not not_deployed
    elif status in (502, 503, 504):
        # The gateway marks the answers of functions, and its own when a function cannot be reached, alike.
        gateway_down = marks_answers and response.header(START_TIME) is None
    return Outcome(
        status,
        response.body,
        ResponseHeaders(response),
        not_executed=not_executed,
        final=final,
        retry_after_s=_retry_after_s(response),
        gateway_down=gateway_down,
        not_deployed=not_deployed,
    )


def outcome_without(failure: Failure, call: FunctionCall) -> Outcome:
    """What the lack of an answer says. A response that had begun was an execution: it is never tried again."""
    problem = failure.value
    assert isinstance(problem, NoResponse)
    name, reason = call.function, problem.reason
    if isinstance(problem, GivenUp):
        then = "had answered; it may have been executed" if problem.sent else "was called"
        return unfinished(f"the connector gave up before {name} {then}", not_executed=not problem.sent)
    if isinstance(problem, NotConnected) or not problem.sent:
        return failed(BAD_GATEWAY, f"the gateway is unreachable: {reason}", not_executed=True, gateway_down=True)
    if isinstance(problem, ResponseTooLarge):
        return failed(TOO_LARGE, f"the answer of {name} is {reason}", final=True)
    if isinstance(problem, TimedOut):
        if problem.begun:
            return failed(TIMED_OUT, f"{name} {reason}; it has been executed, or may have been", final=True)
        return failed(TIMED_OUT, f"{name} {reason}")
    if problem.begun:
        reason = f"the answer of {name} cannot be read ({reason}); it has been executed, or may have been"
        return failed(BAD_GATEWAY, reason, final=True)
    reason = f"the connection broke before {name} had answered ({reason}); it may have been executed"
    return failed(BAD_GATEWAY, reason)


def _is_lookup_fault(response: Response, call: FunctionCall) -> bool:
    """The gateway, not a function, says that it has not found this one."""
    rest = response.body.removeprefix(_NOT_FOUND + call.function.encode())
    # The gateway may have added the namespace.
    return len(rest) < len(response.body) and rest[:1] in (b":", b".") and response.header(START_TIME) is None


def _retry_after_s(response: Response) -> float | None:
    """Seconds from now, of a ``Retry-After`` in either of its forms (RFC 9110, 10.2.3); None when it is neither."""
    value = response.header(b"Retry-After")
    if value is None:
        return None
    text = value[:100].decode("ascii", "replace")
    if text.isdecimal() and len(text) <= 9:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None

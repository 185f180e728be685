"""Calling functions through an OpenFaaS gateway."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.web.http_headers import Headers
from zope.interface import implementer

from natsconnector.gateway.credentials import BasicAuth, CredentialsFault
from natsconnector.gateway.http import USER_AGENT, GatewayHttp
from natsconnector.gateway.http1 import Response
from natsconnector.gateway.outcomes import START_TIME, outcome_of, outcome_without
from natsconnector.gateway.request import FRAMING, BadRequest, encode_head
from natsconnector.model.call import CALL_ID, CALLBACK_URL, FunctionCall
from natsconnector.model.outcome import BAD_GATEWAY, MALFORMED, Outcome, failed
from natsconnector.model.route import METHODS, ROOT, WITHOUT_BODY, path_fault
from natsconnector.model.seams import IGateway
from natsconnector.reactors import Reactor

_PROBE_TIMEOUT_S = 5.0
# Nothing else gets into a URL's path, whoever calls.
_FUNCTION = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)


@implementer(IGateway)
class GatewayClient:
    """
    An OpenFaaS gateway that functions are called through.

    Every retry is the caller's: none is made here, no redirect is followed and no cookie kept. Bodies pass as they
    are: no content coding is asked for unless the call does, and none is undone.

    :param url: the gateway's base URL.
    :param timeout_s: for one call that has none of its own, connecting and reading the answer's body included.
    :param max_connections: how many idle connections are kept; the number of calls at once is the caller's to bound.
    :param max_response_bytes: a longer answer is an outcome of its own (413), and its connection is closed.
    :param credentials: sent with every call that has no ``Authorization`` of its own. The gateway hands them on to
        the function.
    :param max_held_bytes: of the responses that are coming, all together; beyond, the larger ones are read later.
    :param ca_file: PEM file of the authorities that are trusted for ``https``; None trusts the system's.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        url: str,
        *,
        timeout_s: float,
        max_connections: int,
        max_response_bytes: int,
        max_held_bytes: int | None = None,
        credentials: BasicAuth | None = None,
        ca_file: str | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._credentials = credentials
        self._no_credentials = ""
        self._http = GatewayHttp(
            reactor,
            url,
            timeout_s=timeout_s,
            max_connections=max_connections,
            max_response_bytes=max_response_bytes,
            max_held_bytes=max_held_bytes,
            ca_file=ca_file,
        )
        self._exchange = self._http.agent.exchange
        origin = self._http.origin
        self._called = f"POST {origin.prefix}/function/"
        self._queued = f"POST {origin.prefix}/async-function/"
        self._constant = f" HTTP/1.1\r\nHost: {origin.host_header}\r\nUser-Agent: {USER_AGENT}\r\n"
        self._constant_lines = self._constant.count("\n")
        # Whether this gateway marks its answers. Only answers that no function can have made tell.
        self._marks_answers = False

    def call(self, call: FunctionCall) -> Deferred[Outcome]:
        """
        Call a function once: ``POST /function/NAME`` or ``/async-function/NAME``, unless the call has another route;
        see :class:`IGateway`.
        """
        try:
            head = self._head(call)
        except CredentialsFault as e:
            self._tell_no_credentials(str(e))
            return succeed(failed(BAD_GATEWAY, "the connector has no credentials for the gateway", not_executed=True))
        except BadRequest as e:
            return succeed(
                failed(MALFORMED, f"{call.function!a:.100} cannot be called: {e}", not_executed=True, final=True)
            )
        timeout_s = self._timeout_s if call.timeout_s is None else call.timeout_s
        head_only = call.route.method == "HEAD"
        exchange: Deferred[Any] = self._exchange(head + call.body, timeout_s, head_only=head_only)
        return exchange.addCallbacks(self._outcome, outcome_without, callbackArgs=(call,), errbackArgs=(call,))

    def probe(self) -> Deferred[bool]:
        """
        Whether the gateway answers at all: True when any response to ``GET /healthz`` came. It never fails.

        Cancelling it ends it with False.
        """
        asking: Deferred[Any] = self._http.get(
            "/healthz", headers=Headers({"User-Agent": [USER_AGENT]}), timeout=min(self._timeout_s, _PROBE_TIMEOUT_S)
        )

        def answered(response: Any) -> bool:
            if response.headers.hasHeader(START_TIME):
                self._marks_answers = True
            return True

        return asking.addCallbacks(answered, lambda _: False)

    def close(self) -> Deferred[None]:
        """Close the idle connections."""
        return self._http.close()

    def _head(self, call: FunctionCall) -> bytes:
        """
        The head of the request for a call.

        :raises CredentialsFault: they are to be sent, and cannot be read.
        :raises BadRequest: something in it cannot be sent.
        """
        if not _FUNCTION.fullmatch(call.function):
            raise BadRequest("that is no function's name")
        start = self._queued if call.asynchronous else self._called
        path = ""
        if call.route is not ROOT:
            method, path = call.route
            if method not in METHODS or (path and path_fault(path) is not None):
                raise BadRequest("that is no method, or no path, of a function")
            start = f"{method}{start.removeprefix('POST')}"
        parts = [f"{start}{call.function}{path}{self._constant}{CALL_ID}: {call.call_id}\r\n"]
        lines = self._constant_lines + 1
        if call.content_type is not None:
            parts.append(f"Content-Type: {call.content_type}\r\n")
            lines += 1
        if call.callback_url is not None:
            parts.append(f"{CALLBACK_URL}: {call.callback_url}\r\n")
            lines += 1
        encoding = authorization = False
        if call.headers:
            for name, value in call.headers:
                parts.append(f"{name}: {value}\r\n")
                lower = name.lower()
                if lower in FRAMING:
                    raise BadRequest(f"the header {name} is not a caller's")
                encoding = encoding or lower == "accept-encoding"
                authorization = authorization or lower == "authorization"
            lines += len(call.headers)
        if not encoding:
            parts.append("Accept-Encoding: identity\r\n")
            lines += 1
        if self._credentials is not None and not authorization:
            parts.append(f"Authorization: {self._credentials.authorization()}\r\n")
            lines += 1
            self._no_credentials = ""
        if call.body or call.route.method not in WITHOUT_BODY:
            parts.append(f"Content-Length: {len(call.body)}\r\n\r\n")
            lines += 2
        else:
            parts.append("\r\n")
            lines += 1
        return encode_head("".join(parts), lines)

    def _outcome(self, response: Response, call: FunctionCall) -> Outcome:
        if call.asynchronous and not self._marks_answers and response.header(START_TIME) is not None:
            self._marks_answers = True
        if response.status == 401 and self._credentials is not None:
            self._credentials.forget()
        return outcome_of(response, call, self._marks_answers)

    def _tell_no_credentials(self, reason: str) -> None:
        """In the log, which may know the file, and not for every call."""
        if reason != self._no_credentials:
            self._no_credentials = reason
            self._log.error(
                "the connector has no credentials for the gateway: {reason}",
                reason=reason,
                event="no_gateway_credentials",
            )

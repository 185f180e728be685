"""HTTP with one gateway, by treq's face."""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

from treq.client import HTTPClient
from treq.response import _Response
from twisted.internet.defer import Deferred, fail
from twisted.web.http_headers import Headers

from natsconnector import __version__
from natsconnector.gateway.agent import GatewayAgent
from natsconnector.gateway.http1 import Response
from natsconnector.gateway.origin import Origin, parse_origin
from natsconnector.gateway.request import BadRequest, encode_request
from natsconnector.gateway.response import WholeResponse
from natsconnector.reactors import Reactor

USER_AGENT = f"natsconnector/{__version__}"
# Options of treq that this client settles itself: callers may not give them.
_SETTLED = frozenset("allow_redirects browser_like_redirects unbuffered reactor _stacklevel".split())


class GatewayHttp(HTTPClient):
    """
    treq's client for one origin that is known before: nothing of a URL is worked out anew for each request.

    No redirect is followed, no cookie kept, nothing tried again, no body unpacked. A response is whole when its
    Deferred fires: the time limit and the bound hold for its body, too.

    Who has a request in bytes already, and asks little of the response, takes :meth:`GatewayAgent.exchange`.

    :param url: the gateway's base URL.
    :param timeout_s: for a request without a limit of its own, connecting and reading the body included.
    :param max_connections: how many idle connections are kept; how many requests run at once is the caller's to bound.
    :param max_response_bytes: of a response's body; the connection of a longer one is closed.
    :param max_held_bytes: of the responses that are coming, all together; beyond, the larger ones are read later.
    :param ca_file: PEM file of the authorities that are trusted for ``https``; None trusts the system's.
    """

    def __init__(
        self,
        reactor: Reactor,
        url: str,
        *,
        timeout_s: float,
        max_connections: int,
        max_response_bytes: int,
        max_held_bytes: int | None = None,
        ca_file: str | None = None,
    ) -> None:
        self.origin: Origin = parse_origin(url)
        self.agent = GatewayAgent(
            reactor,
            self.origin,
            timeout_s=timeout_s,
            max_connections=max_connections,
            max_response_bytes=max_response_bytes,
            max_held_bytes=max_held_bytes,
            ca_file=ca_file,
        )
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._host = self.origin.host_header.encode()
        # treq has a jar of its own since 24.9, and takes this one as well.
        no_cookies: Any = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        super().__init__(self.agent, cookiejar=no_cookies)

    def request(self, method: str, url: Any, **more: Any) -> Deferred[_Response]:
        """
        See :func:`treq.request`; the URL may also be a path at the gateway.

        What is not a plain request with a body of bytes is treq's own to work out.

        :raises NoResponse: (in the Deferred) there is no whole response.
        :raises BadRequest: (in the Deferred) there can be no such request.
        """
        text = url if isinstance(url, str) else url.decode("ascii") if isinstance(url, bytes) else url.to_text()
        if text.startswith("/"):
            text = self.origin.url + text
        headers, data, timeout_s = more.pop("headers", None), more.pop("data", None), more.pop("timeout", None)
        below = text[len(self.origin.url) :].partition("#")[0]
        ours = text.startswith(self.origin.url) and below[:1] in ("", "/", "?")
        if not ours or not _SETTLED.issuperset(more) or not isinstance(data, (bytes, type(None))):
            settled = {"allow_redirects": False, "reactor": self._reactor, "timeout": timeout_s}
            return super().request(method, text, headers=headers, data=data, **{**more, **settled})
        target = self.origin.prefix + below
        body = b"" if data is None and method.upper() in ("POST", "PUT") else data
        try:
            request = encode_request(method.upper().encode(), (target or "/").encode(), self._host, _raw(headers), body)
        except ValueError as e:
            return fail(e if isinstance(e, BadRequest) else BadRequest("the request has no encoding"))
        if timeout_s is None:
            timeout_s = self._timeout_s
        exchange: Deferred[Any] = self.agent.exchange(request, timeout_s, head_only=method.upper() == "HEAD")
        return exchange.addCallback(self._response)

    def close(self) -> Deferred[None]:
        """Close the idle connections."""
        return self.agent.close()

    def _response(self, response: Response) -> _Response:
        return _Response(WholeResponse(response), self._cookiejar)


def _raw(headers: Any) -> list[tuple[bytes, bytes]]:
    """Names and values, of either form that treq takes."""
    if headers is None:
        return []
    if not isinstance(headers, Headers):
        given, headers = headers, Headers()
        for name, values in given.items():
            for value in [values] if isinstance(values, (str, bytes)) else values:
                headers.addRawHeader(name, value)
    return [(name, value) for name, values in headers.getAllRawHeaders() for value in values]

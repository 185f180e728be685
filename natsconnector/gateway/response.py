"""Whole responses as Twisted and treq have them."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface import implementer

from natsconnector.gateway.http1 import Response


@implementer(IResponse)
class WholeResponse:
    """
    A response whose body is there already: delivered at once, and as often as it is asked for.

    :param response: what came.
    """

    request: Any = None
    previousResponse: IResponse | None = None

    def __init__(self, response: Response) -> None:
        self.code = response.status
        self.phrase = response.phrase
        self.version = response.version
        self.length = len(response.body)
        self._response = response
        self._headers: Headers | None = None

    @property
    def headers(self) -> Headers:
        """Made when somebody asks."""
        if self._headers is None:
            self._headers = Headers()
            for name, value in self._response.headers:
                self._headers.addRawHeader(name, value)
        return self._headers

    def deliverBody(self, protocol: IProtocol) -> None:
        transport: Any = None
        protocol.makeConnection(transport)
        if self._response.body:
            protocol.dataReceived(self._response.body)
        protocol.connectionLost(Failure(ResponseDone()))

    def setPreviousResponse(self, response: IResponse) -> None:
        self.previousResponse = response

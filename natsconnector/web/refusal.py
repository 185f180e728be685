"""An answer that says no, and why."""

from __future__ import annotations

from twisted.web.resource import Resource
from twisted.web.server import Request


class Refusal(Resource):
    """Answers every request with one sentence."""

    isLeaf = True

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__()
        self._status = status
        self._sentence = sentence

    def render(self, request: Request) -> bytes:
        """The sentence, for people."""
        request.setResponseCode(self._status)
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        return f"{self._sentence}\n".encode()

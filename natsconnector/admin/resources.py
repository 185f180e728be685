"""The pages: each is made when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request

from natsconnector.admin.health import Health

_HEADERS = {
    b"Server": b"natsconnector",
    b"Cache-Control": b"no-store",
    b"Content-Security-Policy": b"default-src 'none'; frame-ancestors 'none'",
    b"Referrer-Policy": b"no-referrer",
    b"X-Content-Type-Options": b"nosniff",
}
_TEXT = "text/plain; charset=utf-8"
_INDEX = """\
natsconnector
/healthz  whether it lives
/readyz   whether it takes messages, and which part is not ready
/metrics  figures for Prometheus
"""


class Page(NamedTuple):
    """An answer."""

    body: bytes
    content_type: str = _TEXT
    status: int = http.OK


Make = Callable[[str], Page]
"""Makes a page; is given the request's Accept header."""


class Pages(Resource):
    """
    A site of a few fixed paths, which can only be read.

    :param pages: by path.
    """

    isLeaf = True

    def __init__(self, pages: Mapping[str, Make]) -> None:
        super().__init__()
        self._pages = {path.encode(): make for path, make in pages.items()}

    @property
    def paths(self) -> frozenset[bytes]:
        """Those that there are."""
        return frozenset(self._pages)

    def render(self, request: Request) -> bytes:
        """The page of the path, its head for HEAD; 404 for another path, and 405 for another method."""
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        make = self._pages.get(request.path)
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            page = Page(b"this can only be read\n", status=http.NOT_ALLOWED)
        elif make is None:
            page = Page(b"there is no such page\n", status=http.NOT_FOUND)
        else:
            page = make(request.getHeader("accept") or "")
        request.setResponseCode(page.status)
        request.setHeader(b"Content-Type", page.content_type.encode())
        request.setHeader(b"Content-Length", b"%d" % len(page.body))
        return b"" if request.method == b"HEAD" else page.body


def pages(health: Health, metrics: Make) -> Pages:
    """All there is to be read."""

    def healthz(accept: str) -> Page:
        # That this is answered shows that the reactor makes progress.
        fault = health.fault()
        if fault is None:
            return Page(b"ok\n")
        return Page(f"{fault}\n".encode(), status=http.SERVICE_UNAVAILABLE)

    def readyz(accept: str) -> Page:
        report = health.report()
        status = http.OK if report["ready"] else http.SERVICE_UNAVAILABLE
        return Page(json.dumps(report, indent=2).encode() + b"\n", "application/json", status)

    return Pages(
        {"/": lambda accept: Page(_INDEX.encode()), "/healthz": healthz, "/readyz": readyz, "/metrics": metrics}
    )

"""The pages: each is made when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import NamedTuple

from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from natsconnector.admin.events import Events
from natsconnector.admin.health import Health

_HEADERS = {
    b"Server": b"natsconnector",
    b"Cache-Control": b"no-store",
    b"Referrer-Policy": b"no-referrer",
    b"X-Content-Type-Options": b"nosniff",
}
_TEXT = "text/plain; charset=utf-8"
_NOTHING = "default-src 'none'; frame-ancestors 'none'"
# What the status page needs: files and events of this very site.
_OWN = f"{_NOTHING}; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'"
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_EVENTS = b"/events"
_EVENT_STREAM = "text/event-stream; charset=utf-8"


class Page(NamedTuple):
    """An answer."""

    body: bytes
    content_type: str = _TEXT
    status: int = http.OK
    policy: str = _NOTHING
    """What a browser may do with it: the Content-Security-Policy."""


Make = Callable[[str], Page]
"""Makes a page; is given the request's Accept header."""


class Pages(Resource):
    """
    A site of a few fixed paths, which can only be read.

    :param pages: by path.
    :param events: what ``/events`` tells, for as long as a client listens.
    """

    isLeaf = True

    def __init__(self, pages: Mapping[str, Make], events: Events) -> None:
        super().__init__()
        self._events = events
        self._pages = {path.encode(): make for path, make in pages.items()}

    @property
    def paths(self) -> frozenset[bytes]:
        """Those that there are."""
        return frozenset({*self._pages, _EVENTS})

    def render(self, request: Request) -> int | bytes:
        """The page of the path, its head for HEAD; 404 for another path, and 405 for another method."""
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        make = self._pages.get(request.path)
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            page = Page(b"this can only be read\n", status=http.NOT_ALLOWED)
        elif request.path == _EVENTS:
            return self._listen(request)
        elif make is None:
            page = Page(b"there is no such page\n", status=http.NOT_FOUND)
        else:
            page = make(request.getHeader("accept") or "")
        return self._answer(request, page)

    def _listen(self, request: Request) -> int | bytes:
        if not self._events.has_room:
            full = Page(b"as many look as can be told, or it is stopping\n", status=http.SERVICE_UNAVAILABLE)
            return self._answer(request, full)
        request.setHeader(b"Content-Security-Policy", _NOTHING.encode())
        request.setHeader(b"Content-Type", _EVENT_STREAM.encode())
        if request.method == b"HEAD":
            return b""
        self._events.take(request)
        return NOT_DONE_YET

    def _answer(self, request: Request, page: Page) -> bytes:
        request.setResponseCode(page.status)
        request.setHeader(b"Content-Security-Policy", page.policy.encode())
        request.setHeader(b"Content-Type", page.content_type.encode())
        request.setHeader(b"Content-Length", b"%d" % len(page.body))
        return b"" if request.method == b"HEAD" else page.body


def pages(health: Health, metrics: Make, events: Events) -> Pages:
    """All there is to be read."""

    def healthz(accept: str) -> Page:
        # The answer itself shows that the reactor makes progress.
        fault = health.fault()
        if fault is None:
            return Page(b"ok\n")
        return Page(f"{fault}\n".encode(), status=http.SERVICE_UNAVAILABLE)

    def readyz(accept: str) -> Page:
        report = health.report()
        status = http.OK if report["ready"] else http.SERVICE_UNAVAILABLE
        return Page(json.dumps(report, indent=2).encode() + b"\n", "application/json", status)

    return Pages({**_status_page(), "/healthz": healthz, "/readyz": readyz, "/metrics": metrics}, events)


def _status_page() -> dict[str, Make]:
    # Read at the start, once: what is answered later does not depend on a disk.
    folder = files(__package__).joinpath("page")
    found = {
        path: Page(folder.joinpath(name).read_bytes(), content_type, policy=_OWN)
        for path, (name, content_type) in _FILES.items()
    }
    return {path: lambda accept, page=page: page for path, page in found.items()}  # type: ignore[misc]

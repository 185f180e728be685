"""What publishers write of the route below a function: ``Function-Path``, ``Function-Method``, and the subject."""

from __future__ import annotations

import posixpath
import re
from random import Random
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from twisted.internet.task import Clock

from natsconnector.gateway import GatewayClient
from natsconnector.model.call import Refused
from natsconnector.planning.permissions import Permissions
from natsconnector.planning.planner import Planner
from natsconnector.testing import FakeDelivery
from tests.fuzz.mutate import mutated_text
from tests.fuzz.target import Plain, holds

_LINE = re.compile(rb"([A-Z]+) (/gw/(?:async-)?function/([!-~]*)) HTTP/1\.1")


class RouteTarget(Plain):
    """A request stays below the function that is allowed, however often and by whom its path is decoded."""

    name = "routes"
    PATHS = (
        *("/a/b?c=d", "?q", "/", "/%20/%C3%BC", "/../x", "//host/a", "/%2e%2e/b", "/a%2fb", "/%252e%252e/x", "/..;x=1"),
        *(
            "/a/b?c=../..",
            "/%c0%ae/",
            "/a%0d%0aHost: x",
            "/a#b",
            "/a\\..\\b",
            "/..%3f/",
            "/a%5cb",
            "/a%3fb",
            "/a%23b",
            "/a/./b",
        ),
    )
    METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "get", "GET /x HTTP/1.1", "CONNECT", "")

    def make(self, rng: Random) -> dict[str, Any]:
        headers = [("Function-Path", mutated_text(rng, rng.choice(self.PATHS)))]
        if rng.random() < 0.4:
            headers.append(("Function-Method", rng.choice(self.METHODS)))
        if rng.random() < 0.2:
            headers.append(("X-Callback-Url", "http://ok.test/"))
        return {
            "payload": rng.choice((b"", b"x")),
            "subject": f"fn.{mutated_text(rng, 'figlet') if rng.random() < 0.3 else 'figlet'}",
            "headers": headers,
        }

    def open(self) -> None:
        self.planner = Planner(Permissions(["*"]), [], function_subjects=["fn.*", "fn.*.*"])
        self.gateway = GatewayClient(
            cast(Any, Clock()), "http://127.0.0.1:1/gw", timeout_s=1.0, max_connections=1, max_response_bytes=1
        )

    def check(self, given: dict[str, Any]) -> None:
        try:
            planned = self.planner.plan(FakeDelivery(**given))
        except Refused as refused:
            holds(400 <= refused.code < 500, f"refused with {refused.code}")
            holds(len(refused.reason) < 600 and "\n" not in refused.reason, f"the reason is {refused.reason!r}")
            return
        assert planned is not None
        (call,) = [each.call for each in planned]
        lines = self.gateway._head(call).split(b"\r\n")
        first = _LINE.fullmatch(lines[0])
        assert first is not None, lines[0]
        holds(sum(line.startswith(b"Host:") for line in lines) == 1, f"more than one host: {lines!r}")
        below = f"/gw/{'async-' * call.asynchronous}function/{call.function}"
        path = urlsplit(f"http://gateway{first[2].decode()}").path
        slashes = path.count("/")
        for _ in range(4):
            segments = path.split("/")
            holds(posixpath.normpath(path).split("/")[:4] == below.split("/"), f"it leads to {path!r}")
            holds(not {".", ".."} & {*segments} and path.count("/") == slashes, f"its segments are {segments!r}")
            holds(not re.search(r"[\\?#\x00-\x1f\x7f]|//", path), f"the path is {path!r}")
            path = unquote(path, errors="strict")

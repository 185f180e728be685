"""A browser on the status page of a connector that runs with a real nats-server and a local gateway."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable
from importlib.resources import files
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from natsconnector.local.gateway import LocalGateway
from natsconnector.local.nats_server import NatsServer
from natsconnector.local.processes import Function
from natsconnector.nats import NatsClient
from tests.integration.ports import free_port
from tests.integration.support import WAIT_S, ConnectorProcess, envelope, reactor

try:
    from playwright.async_api import async_playwright, expect
except ImportError:
    async_playwright = expect = None

CHROMIUM = os.environ.get("CHROMIUM") or next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
PICTURES = os.environ.get("SCREENSHOTS")
"""The folder where pictures are put, if any are wanted."""
DESKTOP, PHONE = (1000, 800), (390, 844)
_MOST_PICTURE_BYTES = 150_000
FUNCTIONS = {
    # The body decides how each ends.
    "thumbnail": "cat",
    "invoice": "sh -c 'read seconds; sleep $seconds'",
    "mailer": "grep well",
}


def see(awaitable: Awaitable[Any]) -> Deferred[Any]:
    """What playwright gives, for Twisted: both run in one event loop."""
    return Deferred.fromFuture(asyncio.ensure_future(awaitable))


class BrowserCase(TestCase):
    """A connector, and a browser that looks at its status page."""

    timeout = 600

    if not os.environ.get("TEST_BROWSER"):
        skip = "asked for by `make test-browser`"
    elif async_playwright is None:
        skip = "there is no playwright here: pip install 'natsconnector[browser]'"
    elif CHROMIUM is None:
        skip = "there is no chromium here; CHROMIUM names one"

    async def setUp(self) -> None:  # type: ignore[override]
        # From here on the event loop runs.
        await deferLater(reactor, 0)
        self.server = NatsServer(reactor, port=await free_port())
        await self.server.start()
        self.addCleanup(self.server.stop)
        self.gateway_port, self.admin_port = await free_port(), await free_port()
        await self.start_gateway()
        self.addCleanup(lambda: self.gateway.stop())
        self.client = NatsClient(reactor, [self.server.url], reconnect_max_wait_s=0.2)
        self.client.start()
        self.addCleanup(self.client.close)
        await self.client.when_ready()
        self.connector = await self.start_connector()
        await self._open()

    async def start_gateway(self) -> None:
        functions = {name: Function(name=name, fprocess=command) for name, command in FUNCTIONS.items()}
        self.gateway = LocalGateway(reactor, functions, port=self.gateway_port)
        await self.gateway.start()

    async def start_connector(self) -> ConnectorProcess:
        """A connector that is ready, at the same port as before."""
        connector = ConnectorProcess(
            *("--nats", self.server.url, "--gateway", f"http://127.0.0.1:{self.gateway_port}"),
            *("--admin", f"tcp:{self.admin_port}:interface=127.0.0.1"),
            *("--retry-attempts", "1", "--shutdown-timeout", "100ms"),
        )
        self.addCleanup(connector.stop)
        await connector.when_ready()
        return connector

    async def _open(self) -> None:
        playwright = await see(async_playwright().start())
        self.addCleanup(lambda: see(playwright.stop()))
        browser = await see(playwright.chromium.launch(executable_path=CHROMIUM))
        self.addCleanup(lambda: see(browser.close()))
        width, height = DESKTOP
        self.page: Any = await see(browser.new_page(viewport={"width": width, "height": height}))
        self.page.set_default_timeout(WAIT_S * 1000)
        self.faults: list[str] = []
        self.page.on("console", lambda message: self._console(message))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        await see(self.page.goto(f"http://127.0.0.1:{self.admin_port}/"))

    def _console(self, message: Any) -> None:
        # That the connector cannot be reached is what some tests are about.
        if message.type in ("error", "warning") and "net::ERR_" not in message.text:
            self.faults.append(message.text)

    def call(self, function: str, body: str, number: int = 1) -> None:
        """Publish messages that ask for calls."""
        for _ in range(number):
            self.client.publish("function.call", envelope(body, function))

    # What is seen

    async def sees(self, selector: str, text: Any) -> None:
        """Wait until an element has a text, or matches a pattern."""
        await see(expect(self.page.locator(selector)).to_have_text(text, timeout=WAIT_S * 1000))

    async def sees_number(self, selector: str, number: int) -> None:
        """Wait until there are so many elements."""
        await see(expect(self.page.locator(selector)).to_have_count(number, timeout=WAIT_S * 1000))

    async def texts(self, selector: str) -> list[str]:
        """The texts of all such elements."""
        found: list[str] = await see(self.page.locator(selector).all_text_contents())
        return found

    async def look(self, size: tuple[int, int], theme: str) -> None:
        """Change the window, and between light and dark."""
        await see(self.page.set_viewport_size({"width": size[0], "height": size[1]}))
        await see(self.page.emulate_media(color_scheme=theme))

    async def assertAccessible(self) -> None:
        """Nothing serious for who sees little, hears the page, or has no mouse: in light and dark, wide and narrow."""
        axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
        await see(self.page.evaluate(axe))
        for size in (DESKTOP, PHONE):
            for theme in ("light", "dark"):
                await self.look(size, theme)
                found = await see(self.page.evaluate("axe.run()"))
                self.assertGreater(len(found["passes"]), 10)
                grave = [
                    f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
                    for each in found["violations"]
                    if each["impact"] in ("serious", "critical")
                    for node in each["nodes"]
                ]
                self.assertEqual(grave, [], (size, theme))
        await self.look(DESKTOP, "light")

    async def assertNarrow(self) -> None:
        """On a phone nothing is beyond the edge."""
        for width in (PHONE[0], 320):
            await self.look((width, 700), "light")
            widths = await see(self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]"))
            self.assertLessEqual(widths[0], width)
            self.assertEqual(widths[1], width)
        await self.look(DESKTOP, "light")

    async def picture(self, name: str, size: tuple[int, int] = DESKTOP, theme: str = "light") -> None:
        """Put a picture of what is seen into the folder, if one is wanted."""
        if PICTURES is None:
            return
        await self.look(size, theme)
        path = Path(PICTURES) / f"{name}.png"
        await see(self.page.screenshot(path=path))
        self.assertLess(path.stat().st_size, _MOST_PICTURE_BYTES)
        await self.look(DESKTOP, "light")

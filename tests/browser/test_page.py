"""What somebody sees who looks at the status page."""

from __future__ import annotations

import re

from twisted.internet.task import deferLater

from tests.browser.support import PHONE, PICTURES, BrowserCase, see
from tests.integration.support import reactor

WELL = "well: ready for messages"
NOT_WELL = "ready, but not all is well"
NOT_READY = "not ready: no messages come in"
# A picture of the traffic shows some minutes of it.
SECONDS_OF_TRAFFIC = 240 if PICTURES else 0


class PageTests(BrowserCase):
    """Each state of the connector."""

    async def tearDown(self) -> None:  # type: ignore[override]
        """Neither the script nor the content security policy had anything to complain about."""
        self.assertEqual(self.faults, [])

    async def test_empty(self) -> None:
        """A connector that has had no message is well, and says so."""
        await self.sees("#state", WELL)
        self.assertEqual(await see(self.page.title()), "natsconnector")
        await self.sees("#more", "no call has ended yet")
        await self.sees("#none", "none")
        await self.sees_number("#parts li[data-kind=good]", 4)
        self.assertFalse(await see(self.page.locator("#todo").is_visible()))
        await self.assertAccessible()
        await self.assertNarrow()

    async def test_traffic(self) -> None:
        """Calls are seen as they are made: how many, how long, in flight; who fails, and why, in a sentence."""
        await self.sees("#state", WELL)
        self.call("thumbnail", "x", 5)
        row = "#functions tbody tr:has(td:first-child:text-is('{}')) td:nth-child({})"
        await self.sees(row.format("thumbnail", 2), "5")
        await self.sees("#state", WELL)
        self.call("thumbnail", "x", 2)
        self.call("invoice", "0")
        self.call("mailer", "ill", 3)
        await self.sees(row.format("thumbnail", 2), "7")
        await self.sees(row.format("mailer", 3), "3")
        await self.sees(row.format("mailer", 7), re.compile(r"^\d+:.* the answer was 500$"))
        await self.sees(row.format("thumbnail", 3), "0")
        await self.sees("#state", NOT_WELL)
        await self.sees(
            "#advice li",
            "mailer: 3 of 3 calls failed in the last ten minutes; the last one: the answer was 500."
            " The log of the function tells more.",
        )
        await self.sees_number("#failures tbody tr", 3)
        self.assertEqual(await self.texts("#failures tbody td:last-child"), ["the answer was 500"] * 3)
        self.call("invoice", "100", 4)
        await self.sees(row.format("invoice", 6), "4")
        await self.sees("#now div:first-child dd:nth-child(2)", "4 of 100")
        await see(self.page.locator("#plots path.bad[d*=L]").first.wait_for(state="attached"))
        # Who comes late sees what has been.
        await see(self.page.reload())
        await self.sees_number("#failures tbody tr", 3)
        await see(self.page.locator("#plots path.bad[d*=L]").first.wait_for(state="attached"))
        await self.assertAccessible()
        await self.assertNarrow()

    async def test_nats_away(self) -> None:
        """NATS goes away, which is told with its reason, and comes back."""
        await self.sees("#state", WELL)
        await self.server.kill()
        await self.sees("#state", NOT_READY)
        await self.sees("#advice li", re.compile("^NATS is away. Look at the nats-server"))
        await self.sees("#parts li:first-child[data-kind=bad]", re.compile(r"not well for \d+ s: .*refused"))
        self.assertEqual(await see(self.page.title()), "✗ natsconnector")
        await self.assertAccessible()
        await self.picture("status-nats-away", theme="dark")
        await self.server.start()
        await self.sees("#state", WELL)
        await self.sees("#sums div:has(dt:text-is('NATS reconnects')) dd:nth-child(2)", "1")

    async def test_gateway_away(self) -> None:
        """The gateway goes away, which is told with its reason, and comes back; messages come in all the same."""
        await self.sees("#state", WELL)
        await self.gateway.stop()
        self.call("thumbnail", "x", 3)
        await self.sees("#state", NOT_WELL)
        await self.sees("#advice li", re.compile("^The gateway is away. Look at its pods"))
        await self.sees("#parts li[data-kind=wait]", re.compile(r"^gateway .* not well for \d+ s: .*unreachable"))
        await self.assertAccessible()
        await self.picture("status-gateway-away")
        await self.start_gateway()
        await self.sees_number("#parts li[data-kind=good]", 4)
        self.call("thumbnail", "x")
        await self.sees("#sums div:has(dt:text-is('succeeded')) dd:nth-child(2)", re.compile("[1-4]"))

    async def test_stopped(self) -> None:
        """A connector that has stopped: what is seen is stale, which is told; a new one is found by itself."""
        await self.sees("#state", WELL)
        await self.connector.stop()
        await self.sees("#state", re.compile("^stale: no data since "))
        await self.sees("#advice li", re.compile("^The connector has stopped"))
        await self.sees_number("body.stale", 1)
        await self.assertAccessible()
        await self.assertNarrow()
        await self.picture("status-stale")
        self.connector = await self.start_connector()
        await self.sees("#state", WELL)
        await self.sees_number("body.stale", 0)

    async def test_hangs(self) -> None:
        """The same for a connector that hangs, though its connection is open."""
        await self.sees("#state", WELL)
        self.connector.signal("STOP")
        self.addCleanup(self.connector.signal, "CONT")
        await self.sees("#state", re.compile("^stale: no data since "))
        self.connector.signal("CONT")
        await self.sees("#state", WELL)

    async def test_keyboard(self) -> None:
        """Without a mouse: the table is sorted by keys, what has the focus is seen, and the order is told."""
        self.call("thumbnail", "x", 2)
        self.call("invoice", "0")
        names = "#functions tbody td:first-child"
        await self.sees_number(names, 2)
        await self.sees("#functions tbody tr:first-child td:nth-child(2)", "2")
        self.assertEqual(await self.texts(names), ["thumbnail", "invoice"])
        for _ in range(10):
            await see(self.page.keyboard.press("Tab"))
            if await see(self.page.locator("#functions button:focus").count()):
                break
        self.assertEqual(await self.texts("#functions button:focus"), ["function"])
        outline = await see(
            self.page.locator("#functions button:focus").evaluate("node => getComputedStyle(node).outlineStyle")
        )
        self.assertEqual(outline, "solid")
        for key, order, sort in (
            ("Enter", ["invoice", "thumbnail"], "ascending"),
            ("Space", ["thumbnail", "invoice"], "descending"),
        ):
            await see(self.page.keyboard.press(key))
            self.assertEqual(await self.texts(names), order)
            self.assertEqual(await self.texts(f"#functions th[aria-sort={sort}]"), ["function"])
            await self.sees_number("#functions th[aria-sort]", 1)

    async def test_pictures(self) -> None:
        """Some minutes of traffic, one function of which fails now and then."""
        for second in range(SECONDS_OF_TRAFFIC):
            busy = 3 + abs(second % 60 - 30) // 6
            self.call("thumbnail", "x", busy)
            self.call("invoice", "0.2" if second % 45 < 35 else "0.7", 2)
            self.call("mailer", "ill" if second % 90 < 30 and second % 3 else "well", 1 + second // 25 % 2)
            await deferLater(reactor, 1.0)
        await self.picture("status", size=(1000, 1000))
        await self.picture("status-dark", size=(1000, 1000), theme="dark")
        await self.picture("status-phone", size=PHONE)

    if not PICTURES:
        test_pictures.skip = "SCREENSHOTS names no folder for pictures"  # type: ignore[attr-defined]

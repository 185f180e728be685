"""Rights that are missing, come, and go, at a real nats-server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from natsconnector.nats import NatsClient, PermissionsViolation, Subscription, SubscriptionRefused
from tests.integration.nats_case import Collector, NatsTestCase, reactor
from tests.integration.nats_config import ReloadingServer
from tests.integration.ports import free_port


def config(*subscribe: str, publish: str = "") -> str:
    """One user with these rights, and one with all."""
    allowed = ", ".join(f'"{subject}"' for subject in subscribe)
    return f"""
    authorization {{ users = [
        {{ user: me, password: pw, permissions: {{ subscribe: {{ allow: [{allowed}] }}, {publish} }} }}
        {{ user: all, password: pw }}
    ] }}"""


def when(subscription: Subscription, *, refused: bool) -> Deferred[None]:
    """Fires when the server has taken it, or has refused it."""
    fired: Deferred[None] = Deferred()

    def look(each: Subscription) -> None:
        if not fired.called and (each.error is not None if refused else each.confirmed):
            stop()
            fired.callback(None)

    stop = subscription.watch(look)
    look(subscription)
    return fired


class RefusalTests(NatsTestCase):
    """The connection stays the same throughout."""

    async def start(self, config_text: str) -> ReloadingServer:
        """A server with this configuration, and a client of each user."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        server = ReloadingServer(reactor, folder, await free_port(), config_text)
        await server.server.start()
        self.addCleanup(server.server.stop)
        self.me = await self.client_as("me", server)
        return server

    async def client_as(self, user: str, server: ReloadingServer) -> NatsClient:
        """A client that is ready."""
        return await self.client(server.server.url.replace("//", f"//{user}:pw@"))

    async def check_hears(self, sender: NatsClient, collector: Collector, subject: str) -> None:
        """What is published there is heard."""
        before = len(collector.messages)
        sender.publish(subject)
        await collector.when(before + 1)

    async def test_granted(self) -> None:
        """A right that is missing at the start is granted: the subscription works, on the same connection."""
        server = await self.start(config("other"))
        collector = Collector()
        subscription = self.me.subscribe("function.call", collector, queue="functions")
        await when(subscription, refused=True)
        error: Any = subscription.error
        self.assertEqual((error.subject, error.queue), ("function.call", "functions"))
        server.reload(config("other", "function.call functions"))
        await subscription.when_confirmed()
        self.assertIsNone(subscription.error)
        await self.check_hears(await self.client_as("all", server), collector, "function.call")
        self.assertEqual(self.me.statistics.reconnects, 0)

    async def test_revoked_and_granted(self) -> None:
        """Granted, revoked, granted: each is noticed."""
        rights = config("a.*"), config("other")
        server = await self.start(rights[0])
        collector = Collector()
        subscription = self.me.subscribe("a.*", collector)
        await subscription.when_confirmed()
        sender = await self.client_as("all", server)
        await self.check_hears(sender, collector, "a.b")
        server.reload(rights[1])
        await when(subscription, refused=True)
        self.assertFalse(subscription.confirmed)
        server.reload(rights[0])
        await subscription.when_confirmed()
        await self.check_hears(sender, collector, "a.b")
        self.assertEqual(self.me.statistics.reconnects, 0)

    async def test_limit(self) -> None:
        """The server names none that is over its limit; it is known which it took, and a free place helps."""
        server = await self.start("max_subscriptions: 1")
        subscriptions = [self.me.subscribe(subject, print) for subject in "abc"]
        await subscriptions[0].when_confirmed()
        for subscription in subscriptions[1:]:
            await when(subscription, refused=True)
            self.assertIsInstance(subscription.error, SubscriptionRefused)
        self.assertTrue(subscriptions[0].confirmed)
        subscriptions[0].unsubscribe()
        await subscriptions[1].when_confirmed()
        self.assertIsNotNone(subscriptions[2].error)
        await server.server.stop()

    async def test_inbox(self) -> None:
        """Requests fail at once while the inbox is refused, and work when it is not."""
        server = await self.start(config("other"))
        service = await self.client_as("all", server)
        service.subscribe("svc", lambda msg: service.publish(str(msg.reply), b"!"))
        await service.flush()
        for _ in range(2):
            await self.assertFailure(self.me.request("svc", timeout_s=50), PermissionsViolation)
        inbox = self.me._session.requests.subscription
        assert inbox is not None
        server.reload(config("_INBOX.>"))
        await inbox.when_confirmed()
        self.assertEqual((await self.me.request("svc")).payload, b"!")
        server.reload(config("other"))
        await when(inbox, refused=True)
        await self.assertFailure(self.me.request("svc", timeout_s=50), PermissionsViolation)

    async def test_publishes(self) -> None:
        """Each publish that is refused can be watched."""
        await self.start(config("a", publish='publish: { deny: ["$JS.ACK.>"] }'))
        refused: list[str] = []
        self.me.watch_refused_publishes(lambda error: refused.append(error.subject))
        for number in range(100):
            self.me.publish(f"$JS.ACK.S.C.1.{number}.1.1.0", b"+ACK")
        await self.me.flush()
        self.assertEqual(refused, [f"$JS.ACK.S.C.1.{number}.1.1.0" for number in range(100)])

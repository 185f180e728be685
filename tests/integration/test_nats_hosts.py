"""Where a client connects to, and as whom it knows what is there."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from natsconnector.nats import NatsError, Status, Tls
from tests.integration.nats_case import NatsTestCase, StatusCollector, reactor
from tests.integration.nats_proxy import Damage, Proxy
from tests.nats.issuing import Authority


class HostTests(NatsTestCase):
    """Real names, real certificates."""

    async def test_name_that_idna_refuses(self) -> None:
        """A name with an underscore, or a label of 64 characters, is looked up as it is."""
        server = await self.server()
        asked: list[Any] = []

        def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
            asked.append(host)
            found = [(socket.AF_INET6, 1, 6, "", ("::1", port, 0, 0)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", port))]
            return found if host != b"no_such_host" else []

        self.patch(socket, "getaddrinfo", getaddrinfo)
        for host in ("func_nats", "a1--b", "x" * 64):
            client = await self.client(f"nats://{host}:{server.port}")
            self.assertEqual(client.server, f"{host}:{server.port}")
        self.assertEqual([host for host in asked if isinstance(host, bytes)], [b"func_nats", b"a1--b", b"x" * 64])
        client = self.make_client("nats://no_such_host")
        ready: Deferred[Any] = client.when_ready(timeout_s=0.5)
        error = await self.assertFailure(ready, NatsError)
        self.assertIn("Couldn't find the hostname 'no_such_host'", str(error))

    async def test_absolute_name(self) -> None:
        """The dot at the end of a name is not part of the name in a certificate."""
        looked_up = reactor.nameResolver.resolveHostName

        def without_dns(receiver: Any, host: str, *args: Any, **options: Any) -> Any:
            return looked_up(receiver, host.removesuffix("."), *args, **options)

        self.patch(reactor.nameResolver, "resolveHostName", without_dns)
        authority = Authority(Path(self.mktemp()))
        cert, key = authority.issue("server", "localhost")
        server = await self.server(config_text=f'tls {{ cert_file: "{cert}", key_file: "{key}" }}')
        client = await self.client(f"tls://localhost.:{server.port}", tls=Tls(ca=authority.ca))
        await client.flush()

    async def test_man_in_the_middle(self) -> None:
        """Who edits the INFO that comes in clear cannot send us, with our credentials, to a server of their own."""
        authority = Authority(Path(self.mktemp()))
        cert, key = authority.issue("server", "127.0.0.1")
        server = await self.server(
            config_text=f"""
            tls {{ cert_file: "{cert}", key_file: "{key}" }}
            authorization {{ user: me, password: s3cret }}"""
        )
        visitors: list[object] = []

        class Evil(Protocol):
            def connectionMade(self) -> None:
                visitors.append(self)

        factory = Factory.forProtocol(Evil)
        factory.noisy = False
        evil = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(evil.stopListening)

        def edit(info: bytes) -> bytes:
            fields = json.loads(info.removeprefix(b"INFO "))
            fields |= {"connect_urls": [f"127.0.0.1:{evil.getHost().port}"], "ldm": True}
            return b"INFO " + json.dumps(fields).encode() + b" \r\n"

        proxy = Proxy(server.port, lambda number: Damage(edit=edit))
        self.addCleanup(proxy.stop)
        client = self.make_client(
            proxy.url.replace("nats://", "tls://me:s3cret@"), tls=Tls(ca=authority.ca), reconnect_wait_s=0.001
        )
        for number in range(3):
            await client.when_ready()
            self.assertEqual(len(client.servers), 1)
            gone: Deferred[str] = StatusCollector(client).when(Status.DISCONNECTED)
            proxy.links[number].close()
            await gone
        self.assertEqual(visitors, [])

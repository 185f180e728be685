"""Services that a real server's clients, and NATS's own tool, find and watch."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest

from natsconnector import __version__
from natsconnector.assembly.connector import make_connector
from natsconnector.config.reading import read
from natsconnector.connector import Connector
from natsconnector.nats import MicroService, Msg, NatsClient, NoResponders, ServiceError
from tests.integration.nats_case import NatsTestCase, reactor
from tests.integration.nats_config import ReloadingServer
from tests.integration.ports import free_port
from tests.integration.support import WAIT_S, RecordingGateway, Waits

NATS = os.environ.get("NATS") or shutil.which("nats")


class MicroServiceTests(NatsTestCase):
    """The library."""

    def service(self, client: NatsClient) -> MicroService:
        """One of which the endpoint is ready."""

        def add(msg: Msg) -> bytes:
            try:
                return b"%d" % sum(json.loads(msg.payload))
            except ValueError:
                raise ServiceError(400, "numbers, please") from None

        service = MicroService(reactor, client, "Adder", "1.0.0")
        service.add_endpoint("add", add, subject="math.add")
        service.start()
        return service

    async def test_two_instances(self) -> None:
        """Both are found, by all, by name and by id; they share the requests; who asks for another is told at once."""
        server = await self.server()
        client = await self.client(server.url)
        services = [self.service(await self.client(server.url)) for _ in range(2)]
        for service in services:
            await service._client.flush()
        ids = {json.loads(msg.payload)["id"] for msg in await client.request_many("$SRV.PING", most=2)}
        self.assertEqual(ids, {service.id for service in services})
        for _ in range(20):
            self.assertEqual((await client.request("math.add", b"[1, 2]")).payload, b"3")
        refused = await client.request("math.add", b"one")
        self.assertEqual(
            [*refused.headers], [("Nats-Service-Error-Code", "400"), ("Nats-Service-Error", "numbers, please")]
        )
        told = [
            json.loads((await client.request(f"$SRV.STATS.Adder.{service.id}")).payload)["endpoints"][0]
            for service in services
        ]
        self.assertEqual([sum(each[name] for each in told) for name in ("num_requests", "num_errors")], [21, 1])
        with self.assertRaises(NoResponders):
            await client.request("$SRV.PING.Subtracter")
        await services[0].stop()
        with self.assertRaises(NoResponders):
            await client.request(f"$SRV.PING.Adder.{services[0].id}")


class ConnectorServiceTests(NatsTestCase):
    """The connector as a service."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.gateway = RecordingGateway()
        await self.gateway.start()
        self.addCleanup(self.gateway.stop)

    async def connector(self, url: str, **flags: str) -> Connector:
        """One that is ready."""
        given = {"nats": url, "gateway": self.gateway.url, **flags}
        connector = make_connector(reactor, read({n.replace("_", "-"): v for n, v in given.items()}, {}))
        waits = Waits()
        for source in connector.sources:
            source.watch(waits.changed)
        connector.startService()
        self.addCleanup(connector.stopService)
        await waits.when(lambda: not connector.not_ready)
        return connector

    async def test_without_the_right(self) -> None:
        """It is ready without the right to subscribe to ``$SRV.>``."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        rights = 'permissions: { subscribe: ["function.call functions", "_INBOX.>"] }'
        users = f"users = [{{ user: c, password: pw, {rights} }}, {{ user: all, password: pw }}]"
        reloading = ReloadingServer(reactor, folder, await free_port(), f"authorization {{ {users} }}")
        await reloading.server.start()
        self.addCleanup(reloading.server.stop)
        connector = await self.connector(reloading.server.url.replace("//", "//c:pw@"))
        await connector.client.flush()
        self.assertIn("$SRV.", str(connector._service and connector._service.error))
        self.assertEqual(connector.not_ready, [])
        client = await self.client(reloading.server.url.replace("//", "//all:pw@"))
        answer = await client.request("function.call", b'{"function": "figlet"}', timeout_s=WAIT_S)
        self.assertEqual(answer.payload, b"done")

    async def test_nats_tool(self) -> None:
        """``nats micro`` shows it, with what came of its messages."""
        if NATS is None:
            raise SkipTest("the tool nats is not on the path, nor named by NATS")
        server = await self.server()
        await self.connector(server.url, subject="function.call", function_subject="fn.*")
        client = await self.client(server.url)
        for _ in range(3):
            await client.request("fn.figlet", b"Hello", timeout_s=WAIT_S)
        await client.request("function.call", b"Hello", timeout_s=WAIT_S)
        home = self.mktemp()

        async def nats(*arguments: str) -> str:
            out, err, status = await getProcessOutputAndValue(
                NATS, ["-s", server.url, "micro", *arguments], env={"HOME": home}, reactor=reactor
            )
            self.assertEqual((err, status), (b"", 0))
            return str(out.decode())

        self.assertIn("natsconnector", await nats("ls"))
        self.assertIn("natsconnector", await nats("ping"))
        info = await nats("info", "natsconnector")
        for text in (__version__, self.gateway.url, "mode: core", "fn.*", 'in group "functions"', "figlet"):
            self.assertIn(text, info)
        (stats,) = json.loads(await nats("stats", "natsconnector", "--json"))
        endpoints: dict[str, Any] = {each["name"]: each for each in stats["endpoints"]}
        self.assertEqual(endpoints["fn-any"]["num_requests"], 3)
        self.assertEqual(endpoints["function-call"]["last_error"], "a malformed message")
        functions = endpoints["function-call"]["data"]["functions_of_all_endpoints"]
        self.assertEqual(functions["figlet"]["num_requests"], 3)

"""Changes of KV buckets and object stores call functions, as docs/triggers.md says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats.jetstream import JetStream
from tests.integration.support import ConnectorCase, Recorded, reactor


def bucket(name: str, *subjects: str, history: int = 1) -> dict[str, Any]:
    """The stream of a bucket, as the ``nats`` tool makes it."""
    return {
        "name": name,
        "subjects": list(subjects),
        "max_msgs_per_subject": history,
        "discard": "new",
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": True,
    }


class TriggersTests(ConnectorCase):
    """A bucket CONFIG, with and without a history, and an object store FILES."""

    def make_server(self) -> NatsServer:
        return NatsServer(reactor, port=self.port, jetstream_dir=self.mktemp())

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.js = JetStream(self.client)

    def called(self) -> list[tuple[str, bytes, str | None]]:
        """Topic, body and operation of each call."""

        def of(recorded: Recorded) -> tuple[str, bytes, str | None]:
            headers = recorded.headers
            return headers["x-topic"], recorded.body, headers.get("kv-operation")

        return sorted((of(recorded) for recorded in self.gateway.requests), key=str)

    async def test_bucket(self) -> None:
        """A put and a deletion are calls; of values that came while no connector listened, the latest is one."""
        await self.js.create_stream(bucket("KV_CONFIG", "$KV.CONFIG.>"))
        self.gateway.deploy("f", topic="$KV.CONFIG.>")
        for value in (b"red", b"green"):
            await self.js.publish("$KV.CONFIG.colour", value)
        flags = ("--stream", "KV_CONFIG", "--topics", "$KV.CONFIG.>", "--dead-letter", "none")
        connector = await self.connector(*flags)
        await connector.when_line("limits retention")
        await self.gateway.when_requests(1)
        await self.js.publish("$KV.CONFIG.a.b", b"", headers={"KV-Operation": "DEL"})
        await self.gateway.when_requests(2)
        self.assertEqual(self.called(), [("$KV.CONFIG.a.b", b"", "DEL"), ("$KV.CONFIG.colour", b"green", None)])

    async def test_object_store(self) -> None:
        """The description of an object is a call, its contents are none."""
        await self.js.create_stream(bucket("OBJ_FILES", "$O.FILES.C.>", "$O.FILES.M.>"))
        self.gateway.deploy("f", topic="$O.FILES.M.>")
        await self.connector("--stream", "OBJ_FILES", "--topics", "$O.FILES.M.>", "--dead-letter", "none")
        await self.js.publish("$O.FILES.C.nuid", b"hello")
        await self.js.publish("$O.FILES.M.Zi50eHQ=", b'{"name":"f.txt"}')
        await self.gateway.when_requests(1)
        self.assertEqual(self.called(), [("$O.FILES.M.Zi50eHQ=", b'{"name":"f.txt"}', None)])

    async def test_every_change(self) -> None:
        """The stream of the page has each change on the subject that the page names, replaced values included."""
        await self.js.create_stream(bucket("KV_CONFIG", "$KV.CONFIG.>", history=64))
        page = (Path(__file__).parents[2] / "docs" / "triggers.md").read_text()
        await self.js.create_stream(json.loads(page.partition("```json\n")[2].partition("```")[0]))
        for value in (b"red", b"green", b"blue"):
            await self.js.publish("$KV.CONFIG.colour", value)
        # The server copies in its own time.
        found: list[tuple[str, bytes]] = []
        while len(found) < 3:
            found = [(stored.subject, stored.payload) async for stored in self.js.messages("CHANGES")]
        self.assertEqual(found, [("changes.config.colour", value) for value in (b"red", b"green", b"blue")])
        # A dead letter that is put back.
        stored = await self.js.publish("changes.config.colour", b"red")
        self.assertEqual((stored.stream, stored.sequence), ("CHANGES", 4))

"""Functions called by MQTT, through the MQTT listener of a nats-server."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from natsconnector.local.nats_server import NatsServer
from natsconnector.nats.jetstream import JetStream
from tests.integration.ports import free_port
from tests.integration.support import ConnectorCase, Waits, reactor

CONNACK, PUBLISH, SUBACK = 0x20, 0x30, 0x90


class MqttClient(Protocol):
    """MQTT 3.1.1, as much of it as publishes, and hears answers; packets are short."""

    def __init__(self) -> None:
        self._buffer = b""
        self._waits = Waits()
        self.packets: list[tuple[int, bytes]] = []

    def connectionMade(self) -> None:
        self._send(0x10, _text("MQTT") + b"\x04\x02\x00\x00" + _text("a-client"))

    def subscribe(self, topic: str) -> Deferred[None]:
        """Fires when the server has taken it."""
        self._send(0x82, b"\x00\x01" + _text(topic) + b"\x00")
        return self.when(SUBACK)

    def publish(self, topic: str, payload: bytes, qos: int = 0) -> None:
        """Of the packets' identifiers, which QoS 1 has, nobody here needs more than one."""
        self._send(PUBLISH | qos << 1, _text(topic) + b"\x00\x07" * bool(qos) + payload)

    def heard(self) -> list[tuple[str, bytes]]:
        """Topic and payload of each message that came."""
        found = []
        for kind, body in self.packets:
            if kind == PUBLISH:
                length = int.from_bytes(body[:2], "big")
                found.append((body[2 : 2 + length].decode(), body[2 + length :]))
        return found

    def when(self, kind: int, number: int = 1) -> Deferred[None]:
        """Fires when so many packets of a kind have come."""
        return self._waits.when(lambda: [each for each, _ in self.packets].count(kind) >= number)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 2 and len(self._buffer) >= 2 + self._buffer[1]:
            end = 2 + self._buffer[1]
            self.packets.append((self._buffer[0] & 0xF0, self._buffer[2:end]))
            self._buffer = self._buffer[end:]
        self._waits.changed()

    def _send(self, first: int, body: bytes) -> None:
        assert self.transport is not None and len(body) < 128
        self.transport.write(bytes([first, len(body)]) + body)


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


class MqttTests(ConnectorCase):
    """A publisher that can set no header and no reply subject."""

    def make_server(self) -> NatsServer:
        config = f"server_name: mq\njetstream {{ store_dir: {self.mktemp()!r} }}\n"
        return NatsServer(reactor, port=self.port, config_text=f"{config}mqtt {{ listen: '127.0.0.1:{self.mqtt}' }}")

    async def setUp(self) -> None:  # type: ignore[override]
        self.mqtt = await free_port()
        await super().setUp()
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.mqtt)
        self.client_of_mqtt = await connectProtocol(endpoint, MqttClient())
        self.addCleanup(self.client_of_mqtt.transport.abortConnection)
        await self.client_of_mqtt.when(CONNACK)

    async def start(self, *flags: str) -> Any:
        return await self.connector(
            "--function-subject", "mq.fn.*", "--reply-subject-for", "mq.fn.*=mq.answer.$1", *flags
        )

    async def test_core(self) -> None:
        """Answers, and refusals, come on the topic that the mapping makes."""
        await self.start()
        mqtt = self.client_of_mqtt
        await mqtt.subscribe("mq/answer/#")
        mqtt.publish("mq/fn/figlet", b"Hello")
        mqtt.publish("mq/fn/cat", b"Hello", qos=1)
        mqtt.publish("mq/fn/-x", b"")
        await mqtt.when(PUBLISH, 3)
        heard = dict(mqtt.heard())
        self.assertIn(b"is no function name", heard.pop("mq/answer/-x"))
        self.assertEqual(heard, {"mq/answer/figlet": b"done", "mq/answer/cat": b"done"})
        called = sorted((each.path, each.body) for each in self.gateway.requests)
        self.assertEqual(called, [("/function/cat", b"Hello"), ("/function/figlet", b"Hello")])

    async def test_stream(self) -> None:
        """The same from a stream."""
        js = JetStream(self.client)
        await js.create_stream({"name": "MQ", "subjects": ["mq.fn.*"], "retention": "workqueue"})
        await self.start("--stream", "MQ", "--dead-letter", "none")
        mqtt = self.client_of_mqtt
        await mqtt.subscribe("mq/answer/#")
        mqtt.publish("mq/fn/figlet", b"Hello")
        mqtt.publish("mq/fn/cat", b"Hello", qos=1)
        await mqtt.when(PUBLISH, 2)
        self.assertEqual(sorted(mqtt.heard()), [("mq/answer/cat", b"done"), ("mq/answer/figlet", b"done")])
        while (await js.stream("MQ"))["state"]["messages"]:
            pass

"""What holds for any argument, and any bytes of a server."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import (
    BadServerUrl,
    BadSubject,
    ConnectFailed,
    NatsClient,
)
from tests.nats import profile  # noqa: F401
from tests.nats.fakes import World


class PropertyTests(SynchronousTestCase):
    """What holds for any text in any argument."""

    @given(st.text(), st.none() | st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=2), st.binary())
    def test_publish(self, subject: str, reply: str | None, headers: list[tuple[str, str]], payload: bytes) -> None:
        """It raises with nothing sent, or what is sent is as long as it says."""
        world = World()
        peer = world.connected()
        peer.heard()
        try:
            world.client.publish(subject, payload, reply=reply, headers=headers)
        except ValueError:
            self.assertEqual(peer.heard(), b"")
            return
        line, rest = peer.heard().split(b"\r\n", 1)
        self.assertEqual(len(line.split(b" ")), 3 + (reply is not None) + bool(headers))
        self.assertEqual(len(rest), int(line.split(b" ")[-1]) + 2)

    @given(st.text())
    def test_request(self, subject: str) -> None:
        """A request with any subject fails or sends one message with that one subject."""
        world = World()
        peer = world.connected()
        asked = world.client.request(subject)
        if world.client.statistics.out_msgs:
            asked.addErrback(lambda _: None)
            self.assertEqual(len(peer.heard().split(b"PUB ", 1)[1].split(b" ")), 3)
        else:
            self.failureResultOf(asked, BadSubject)

    @given(st.text())
    def test_server_url(self, url: str) -> None:
        """Any text as URL is a server or a clear mistake."""
        with contextlib.suppress(BadServerUrl):
            NatsClient(World().clock, [url])

    @given(st.lists(st.binary(max_size=30), max_size=5))
    def test_any_bytes_from_a_server(self, chunks: list[bytes]) -> None:
        """No bytes of a server make the client raise, or stop trying."""
        world = World()
        peer = world.connected()
        for chunk in chunks:
            if not peer.transport.aborted:
                peer.say(chunk)
        peer.drop()
        world.clock.advance(5)
        self.assertEqual(world.attempts, 2)
        self.assertNotIsInstance(world.client.last_error, ConnectFailed)

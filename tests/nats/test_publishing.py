"""Messages out, with and without a connection."""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats import (
    BadHeader,
    BadSubject,
    ConnectionLost,
    HeadersNotSupported,
    MaxPayloadExceeded,
    OutboundBufferFull,
)
from tests.nats.fakes import World, info


class PublishTests(SynchronousTestCase):
    """Messages out."""

    def test_frames(self) -> None:
        """S8: plain, with reply, with headers."""
        world = World()
        peer = world.connected()
        world.client.publish("a")
        world.client.publish("ü.x", b"hi", reply="r")
        world.client.publish("NOTIFY", headers={"Bar": "Baz"})
        self.assertEqual(
            peer.heard(),
            b"PUB a 0\r\n\r\nPUB \xc3\xbc.x r 2\r\nhi\r\nHPUB NOTIFY 22 22\r\nNATS/1.0\r\nBar: Baz\r\n\r\n\r\n",
        )
        self.assertEqual(world.client.statistics.out_msgs, 3)

    def test_refused(self) -> None:
        """S10: what must not go on the wire raises, and nothing is sent."""
        world = World()
        peer = world.connected()
        bad = "x 0\r\n\r\nPUB injected"
        publish, subscribe = world.client.publish, world.client.subscribe
        self.assertRaises(BadSubject, publish, bad)
        self.assertRaises(BadSubject, publish, "a", reply=bad)
        self.assertRaises(BadHeader, publish, "a", headers={bad: "x"})
        self.assertRaises(BadHeader, publish, "a", headers={"A": bad})
        self.assertRaises(TypeError, publish, "a", "text")
        self.assertRaises(BadSubject, subscribe, bad, print)
        self.assertRaises(BadSubject, subscribe, "a", print, queue=bad)
        self.assertEqual(peer.heard(), b"")
        self.assertEqual(world.client.statistics.out_msgs, 0)

    def test_max_payload(self) -> None:
        """S9: exactly the limit goes, one more does not; headers count; a later INFO changes it."""
        world = World()
        peer = world.connected(max_payload=22)
        self.assertEqual(world.client.max_payload, 22)
        world.client.publish("a", b"x" * 22)
        world.client.publish("a", headers={"Bar": "Baz"})
        peer.heard()
        error = self.assertRaises(MaxPayloadExceeded, world.client.publish, "a", b"x" * 23)
        self.assertEqual((error.size, error.limit), (23, 22))
        self.assertRaises(MaxPayloadExceeded, world.client.publish, "a", b"x", headers={"Bar": "Baz"})
        self.assertEqual(peer.heard(), b"")
        peer.say(info(max_payload=3))
        self.assertRaises(MaxPayloadExceeded, world.client.publish, "a", b"1234")
        world.client.publish("a", b"123")

    def test_no_headers_there(self) -> None:
        """A server without headers would close the connection at the first one."""
        world = World()
        peer = world.connected(headers=False)
        self.assertRaises(HeadersNotSupported, world.client.publish, "a", headers={"A": "1"})
        self.assertEqual(peer.heard(), b"")

    def test_while_away(self) -> None:
        """S19: up to the limit messages wait, in order; beyond, publish raises; control frames are not kept."""
        frame = b"PUB a 1\r\n1\r\n"
        world = World(max_buffered_bytes=2 * len(frame))
        world.client.publish("a", b"1")
        world.client.subscribe("b", print)
        world.client.publish("a", b"2")
        error = self.assertRaises(OutboundBufferFull, world.client.publish, "a", b"3")
        self.assertEqual(error.limit, 2 * len(frame))
        world.client.start()
        sent = world.peer().log_in()
        self.assertEqual(sent, b"SUB b 1\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nPING\r\n")
        self.assertEqual(world.client.statistics.out_msgs, 2)

    def test_no_buffer(self) -> None:
        """A limit of 0 means that nothing waits."""
        world = World(max_buffered_bytes=0)
        self.assertRaises(OutboundBufferFull, world.client.publish, "a")

    def test_recheck(self) -> None:
        """What a smaller server would not take is dropped with a word, as it would close the connection."""
        for fields in ({"max_payload": 2}, {"headers": False}):
            world = World()
            world.client.publish("a", b"12", headers={"A": "1"})
            world.client.publish("b", b"12")
            world.client.start()
            with capturedLogs() as logs:
                sent = world.peer().log_in(**fields)
            self.assertEqual(sent, b"PUB b 2\r\n12\r\nPING\r\n")
            self.assertEqual([e["count"] for e in logs if e["log_level"] is LogLevel.error], [1])

    def test_peer_that_does_not_read(self) -> None:
        """While the transport pauses us the same limit holds; what waits survives the end of the connection."""
        frame = b"PUB a 1\r\n1\r\n"
        world = World(max_buffered_bytes=2 * len(frame))
        peer = world.connected()
        peer.transport.producer.pauseProducing()
        world.client.publish("a", b"1")
        world.client.publish("a", b"2")
        self.assertRaises(OutboundBufferFull, world.client.publish, "a", b"3")
        world.client.subscribe("b", print)
        flushed = world.client.flush()
        peer.drop()
        self.failureResultOf(flushed, ConnectionLost)
        world.clock.advance(1)
        self.assertEqual(world.peer().log_in(), b"SUB b 1\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nPING\r\n")

    def test_paused_right_at_the_start(self) -> None:
        """A new connection that is paused by the subscriptions already loses nothing of what has waited."""
        frame = b"PUB a 1\r\n1\r\n"
        world = World(max_buffered_bytes=2 * len(frame))
        # So many that they make up more than one write.
        subjects = [f"{number:04}".ljust(1000, "x") for number in range(70)]
        for subject in subjects:
            world.client.subscribe(subject, print)
        for payload in (b"1", b"2"):
            world.client.publish("a", payload)
        world.client.start()
        peer = world.peer()
        write = peer.transport.write

        def write_and_pause(data: bytes) -> None:
            write(data)
            if data.startswith(b"SUB"):
                peer.transport.producer.pauseProducing()

        self.patch(peer.transport, "write", write_and_pause)
        sent = peer.log_in()
        self.assertTrue(0 < sent.count(b"SUB") < 70)
        self.assertTrue(world.client.ready)
        self.assertRaises(OutboundBufferFull, world.client.publish, "a", b"3")
        peer.transport.producer.resumeProducing()
        peer.transport.producer.resumeProducing()
        sent += peer.heard()
        subscribed = b"".join(f"SUB {subject} {sid}\r\n".encode() for sid, subject in enumerate(subjects, start=1))
        self.assertEqual(sent, subscribed + b"PUB a 1\r\n1\r\nPUB a 1\r\n2\r\nPING\r\n")

    def test_never_half_a_frame(self) -> None:
        """S18: what was given to a connection that broke is not sent again, whole or in part."""
        world = World()
        peer = world.connected()
        world.client.publish("lost", b"x")
        peer.drop()
        world.client.publish("kept", b"y")
        world.clock.advance(1)
        self.assertEqual(world.peer().log_in(), b"PUB kept 1\r\ny\r\nPING\r\n")

    def test_published_to_a_dying_connection(self) -> None:
        """Between giving a connection up and its end, messages wait for the next one."""
        world = World()
        peer = world.connected()
        peer.say(b"nonsense\r\n")
        world.client.publish("kept")
        world.clock.advance(1)
        self.assertEqual(world.peer().log_in(), b"PUB kept 0\r\n\r\nPING\r\n")

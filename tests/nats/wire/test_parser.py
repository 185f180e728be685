"""The parser: every frame, every cut, every fault."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats.errors import ProtocolViolation
from natsconnector.nats.wire.events import Event, Info, Msg, Ping, Pong
from natsconnector.nats.wire.parser import Parser
from tests.nats import profile  # noqa: F401
from tests.nats.wire.corpus import BAD, GOOD


def parse(chunks: list[bytes]) -> tuple[list[Event], bool]:
    """All events of these chunks, and whether the parser failed."""
    parser = Parser()
    events: list[Event] = []
    for chunk in chunks:
        events += parser.receive_data(chunk)
    return events, parser.violation is not None


def fails(parser: Parser, data: bytes) -> bool:
    """Whether this input is a violation."""
    parser.receive_data(data)
    return parser.violation is not None


class ParserTests(SynchronousTestCase):
    """Frames and their events."""

    def test_whole(self) -> None:
        """Each transcript gives its events."""
        for data, events in GOOD:
            self.assertEqual(parse([data]), (events, False), data)

    def test_byte_by_byte(self) -> None:
        """The same events come when every byte comes alone, and none comes before its frame is complete."""
        for data, events in GOOD:
            self.assertEqual(parse([bytes([byte]) for byte in data]), (events, False), data)
            got, failed = parse([bytes([byte]) for byte in data[:-1]])
            self.assertEqual((got, failed), (events[:-1], False), data)

    def test_every_split(self) -> None:
        """The same events come wherever the input is cut in two, empty pieces included."""
        for data, events in GOOD:
            for cut in range(len(data) + 1):
                self.assertEqual(parse([data[:cut], b"", data[cut:]]), (events, False), (data, cut))

    def test_one_stream(self) -> None:
        """All transcripts in one piece, several times over, are all their events."""
        data = b"".join(data for data, _ in GOOD)
        events = [event for _, events in GOOD for event in events]
        self.assertEqual(parse([data * 3]), (events * 3, False))

    def test_violations(self) -> None:
        """What is no frame is a violation, whole and byte by byte, after the events that came before it."""
        for data in BAD:
            self.assertEqual(parse([b"PING\r\n" + data]), ([Ping()], True), data[:80])
            self.assertEqual(parse([bytes([byte]) for byte in b"PING\r\n" + data]), ([Ping()], True), data[:80])

    def test_violations_on_a_known_subject(self) -> None:
        """What came in order before is no reason to look less closely."""
        for data in (*BAD, b"MSG foo 1 a\tb 2\r\nhi\r\n"):
            for before in (b"MSG foo 1 2\r\nhi\r\n", b"MSG foo 1 r 2\r\nhi\r\n"):
                (events, failed), (begun, _) = parse([before * 2 + data]), parse([before])
                self.assertEqual((events, failed), (begun * 2, True), data[:80])

    def test_long_reply_on_a_known_subject(self) -> None:
        """A reply subject may be longer than what is remembered; a line may not be longer than its limit."""
        for length, violation in ((200, False), (70_000, True)):
            data = b"MSG foo 1 2\r\nhi\r\nMSG foo 1 %b 2\r\nhi\r\n" % (b"r" * length)
            events, failed = parse([data])
            self.assertEqual((len(events), failed), (1 if violation else 2, violation))

    def test_many_subjects(self) -> None:
        """Whoever publishes on thousands of subjects fills no memory, and all messages come."""
        parser = Parser()
        for number in range(5000):
            for subject in (f"s{number}", "x" * 1000 + str(number)):
                (event,) = parser.receive_data(f"MSG {subject} 1 1\r\nx\r\n".encode())
                self.assertEqual(event, Msg(subject, 1, None, b"x"))
        self.assertLess(sum(map(len, parser._known_subjects)), 1024 * 128)

    def test_stays_failed(self) -> None:
        """After a violation nothing is parsed any more, and old events do not come twice."""
        parser = Parser()
        self.assertEqual(parser.receive_data(b"PONG\r\nnonsense\r\nPING\r\n"), [Pong()])
        violation = parser.violation
        self.assertIsInstance(violation, ProtocolViolation)
        self.assertEqual(parser.receive_data(b"PING\r\n"), [])
        self.assertIs(parser.violation, violation)

    def test_reason_shows_the_line(self) -> None:
        """A violation says what came, shortened."""
        parser = Parser()
        parser.receive_data(b"HTTP/1.1 400 " + b"x" * 500 + b"\n")
        self.assertIn("HTTP/1.1 400", str(parser.violation))
        self.assertLess(len(str(parser.violation)), 200)


class LimitTests(SynchronousTestCase):
    """What the parser holds in memory is bounded."""

    def test_control_line(self) -> None:
        """A line may be as long as the limit and no longer, and is not collected beyond it."""
        line = b"MSG " + b"a" * 90 + b" 1 0"
        good = line + b"\r\n\r\n"
        self.assertEqual(Parser(max_control_line=len(line)).receive_data(good), [Msg("a" * 90, 1)])
        for pieces in ([good], [line[:-1], line[-1:], b"\r\n"], [bytes([byte]) for byte in line]):
            parser = Parser(max_control_line=len(line) - 1)
            for piece in pieces:
                parser.receive_data(piece)
            self.assertIsNotNone(parser.violation, pieces)

    def test_line_end_is_not_counted(self) -> None:
        """A line of the exact limit passes also when it is cut before, in and after its line end."""
        line = b"-ERR '" + b"x" * 50 + b"'\r\n"
        for cut in range(len(line)):
            parser = Parser(max_control_line=len(line) - 2)
            self.assertEqual(len(parser.receive_data(line[:cut]) + parser.receive_data(line[cut:])), 1)

    def test_garbage_is_not_collected(self) -> None:
        """Bytes without any line end fail at the limit, not at the end of memory."""
        parser = Parser()
        taken = 0
        while parser.violation is None and taken < 1 << 20:
            parser.receive_data(b"x" * 1000)
            taken += 1000
        self.assertLessEqual(taken, 67000)

    def test_info_may_be_longer(self) -> None:
        """INFO has a limit of its own, since it lists all servers of a cluster; whole or in pieces."""
        fields = {"connect_urls": ["10.0.0.1:4222"] * 10000}
        text = str(fields).replace("'", '"').encode()
        self.assertGreater(len(text), 65536)
        for verb in (b"INFO ", b"info\t"):
            line = verb + text + b"\r\n"
            self.assertEqual(Parser().receive_data(line), [Info(fields)])
            parser = Parser()
            events = [e for byte in line for e in parser.receive_data(bytes([byte]))]
            self.assertEqual(events, [Info(fields)])
            self.assertTrue(fails(Parser(max_info=len(line) - 3), line))
            self.assertTrue(fails(Parser(max_info=len(line) - 3), line[:-2]))

    def test_payload_is_refused_before_it_comes(self) -> None:
        """A message over the cap fails at its control line; one of exactly the cap does not."""
        self.assertEqual(Parser(max_payload=3).receive_data(b"MSG a 1 3\r\nabc\r\n"), [Msg("a", 1, None, b"abc")])
        self.assertTrue(fails(Parser(max_payload=3), b"MSG a 1 4\r\n"))
        self.assertEqual(Parser().receive_data(b"MSG a 1 67108864\r\n"), [])
        self.assertTrue(fails(Parser(max_payload=3), b"MSG a 1 3\r\nabc\r\nMSG a 1 4\r\nabcd\r\n"))

    def test_linear_in_pieces(self) -> None:
        """A frame in small pieces is looked at once when it begins and once when it is whole."""
        for head, body in ((b"MSG a 1 %d\r\n", 1 << 22), (b"HMSG a 1 2 %d\r\n", 1 << 22), (b"INFO %d", 500_000)):
            frame = head % body + (b" " * body) + b"\r\n"
            parser = CountingParser()
            events = [e for i in range(0, len(frame), 1024) for e in parser.receive_data(frame[i : i + 1024])]
            self.assertEqual((len(events), parser.violation is not None), (0, True) if b"INFO" in head else (1, False))
            self.assertLessEqual(parser.looked_at, len(frame) + 2 * 1024)

    def test_linear_in_messages(self) -> None:
        """Many small messages in one piece: no copy of the rest for each of them."""
        data = CountedBytes(b"MSG a 1 0\r\n\r\n" * 10_000)
        self.assertEqual(len(Parser().receive_data(data)), 10_000)
        self.assertLessEqual(data.copied, 2 * len(data))


class CountingParser(Parser):
    """Counts the bytes that are searched for frames."""

    looked_at = 0

    def _parse_frames(self, data: bytes, events: list[Event]) -> int:
        self.looked_at += len(data)
        return super()._parse_frames(data, events)


class CountedBytes(bytes):
    """Counts the bytes that are copied out of it."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(found, bytes):
            self.copied += len(found)
        return found


class MsgTests(SynchronousTestCase):
    """What a message tells about itself."""

    def test_repr_hides_the_payload(self) -> None:
        """A repr in a log shows no payload and no header."""
        msg = Msg("a.b", 3, "r", b"secret", b"NATS/1.0\r\nToken: hidden\r\n\r\n")
        self.assertEqual(repr(msg), "<Msg 'a.b' sid=3 reply='r' payload of 6 bytes>")

    def test_equality(self) -> None:
        """Messages are equal when all they carry is."""
        self.assertEqual(Msg("a", 1, "r", b"x", b"h"), Msg("a", 1, "r", b"x", b"h"))
        for other in (Msg("b", 1, "r", b"x"), Msg("a", 2, "r", b"x"), Msg("a", 1, None, b"x"), Msg("a", 1, "r", b"")):
            self.assertNotEqual(Msg("a", 1, "r", b"x"), other)
        self.assertNotEqual(Msg("a", 1, "r", b"x", b"h"), Msg("a", 1, "r", b"x"))
        self.assertNotEqual(Msg("a", 1), "a")

    def test_headers_are_read_from_the_block(self) -> None:
        """The message offers what its header block says."""
        msg = Msg("a", 1, None, b"", b"NATS/1.0 408 Request Timeout\r\nA: 1\r\n\r\n")
        self.assertEqual((msg.status, msg.description, msg.header_error), (408, "Request Timeout", None))
        self.assertEqual(list(msg.headers), [("A", "1")])

    def test_no_headers(self) -> None:
        """Without a block there are no headers, no status and no fault."""
        msg = Msg("a", 1)
        self.assertEqual((list(msg.headers), msg.status, msg.description, msg.header_error), ([], None, None, None))

    def test_malformed_headers(self) -> None:
        """A malformed block is a fault of the message, told in a sentence."""
        msg = Msg("a", 1, None, b"hi", b"abcd")
        self.assertEqual(msg.header_error, "malformed message headers: the first line is not NATS/1.0")
        self.assertEqual((list(msg.headers), msg.status), ([], None))


class PropertyTests(SynchronousTestCase):
    """What holds for any input."""

    @given(st.data())
    def test_any_chunking(self, data: st.DataObject) -> None:
        """Any chunking of any sequence of frames, with or without a fault at the end, gives the same."""
        frames = data.draw(st.lists(st.sampled_from([frame for frame, _ in GOOD]), max_size=8))
        tail = data.draw(st.sampled_from([b"", *BAD[:-2], b"MSG a 1 5\r\nab", b"INF"]))
        stream = b"".join(frames) + tail
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
        bounds = [0, *cuts, len(stream)]
        chunks = [stream[a:b] for a, b in pairwise(bounds)]
        self.assertEqual(parse(chunks), parse([stream]))

    @given(st.lists(st.binary(max_size=40), max_size=6))
    def test_any_bytes(self, chunks: list[bytes]) -> None:
        """No bytes raise anything but a violation, also out of the headers of what came through."""
        for event in parse(chunks)[0]:
            if isinstance(event, Msg):
                _ = event.headers, event.status, event.header_error

    @given(
        st.lists(st.sampled_from([b"MSG", b"HMSG", b"INFO", b"a", b"1", b"0", b" ", b"\t", b"\r", b"\n", b"-1", b"{}"]))
    )
    def test_almost_frames(self, tokens: list[bytes]) -> None:
        """The same for bytes that look like frames, and for any cut of them."""
        stream = b"".join(tokens)
        self.assertEqual(parse(tokens), parse([stream]))

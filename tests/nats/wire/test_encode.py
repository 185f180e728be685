"""What goes out."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats.errors import BadSubject
from natsconnector.nats.wire import encode
from natsconnector.nats.wire.events import Msg
from natsconnector.nats.wire.headers import encode_block
from natsconnector.nats.wire.parser import Parser
from tests.nats import profile  # noqa: F401


class EncodeTests(SynchronousTestCase):
    """Each operation, to the byte."""

    def test_publish(self) -> None:
        """PUB: sizes in bytes, one space between arguments."""
        self.assertEqual(encode.publish("a"), b"PUB a 0\r\n\r\n")
        self.assertEqual(encode.publish("ü", b"\x00\r\n"), b"PUB \xc3\xbc 3\r\n\x00\r\n\r\n")
        self.assertEqual(encode.publish("a", b"hi", "r.1"), b"PUB a r.1 2\r\nhi\r\n")

    def test_publish_with_headers(self) -> None:
        """HPUB: the headers' size first, then that of all."""
        block = encode_block({"Bar": "Baz"})
        self.assertEqual(
            encode.publish("NOTIFY", b"", None, block), b"HPUB NOTIFY 22 22\r\nNATS/1.0\r\nBar: Baz\r\n\r\n\r\n"
        )
        self.assertEqual(
            encode.publish("a", b"hi", "r", block), b"HPUB a r 22 24\r\nNATS/1.0\r\nBar: Baz\r\n\r\nhi\r\n"
        )

    def test_payload_is_bytes(self) -> None:
        """Anything but bytes is refused: the length of text is not that of its bytes."""
        for payload in ("text", 5, None, memoryview(b"x")):
            self.assertRaises(TypeError, encode.publish, "a", payload)

    def test_subscribe(self) -> None:
        """SUB and UNSUB, with and without their options."""
        self.assertEqual(encode.subscribe("a.*", None, 1), b"SUB a.* 1\r\n")
        self.assertEqual(encode.subscribe("a", "q.1", 22), b"SUB a q.1 22\r\n")
        self.assertEqual(encode.unsubscribe(3), b"UNSUB 3\r\n")
        self.assertEqual(encode.unsubscribe(3, 5), b"UNSUB 3 5\r\n")

    def test_connect(self) -> None:
        """CONNECT is compact JSON on one line, whatever is in it."""
        self.assertEqual(encode.connect({"a": "b\r\nü", "c": 1}), b'CONNECT {"a":"b\\r\\n\\u00fc","c":1}\r\n')

    def test_longest_arguments(self) -> None:
        """4096 bytes of arguments pass, 4097 would make the server disconnect."""
        self.assertTrue(encode.publish("a" * 4094))
        self.assertRaises(BadSubject, encode.publish, "a" * 4095)
        self.assertRaises(BadSubject, encode.publish, "a" * 2000, b"", "b" * 2100)
        self.assertTrue(encode.subscribe("a" * 4094, None, 1))
        self.assertRaises(BadSubject, encode.subscribe, "a" * 4095, None, 1)
        self.assertRaises(BadSubject, encode.subscribe, "a", "q" * 4095, 1)


# One frame of a client as a server reads it: its verb, its arguments, and as many bytes as these announce.
CLIENT_LINE = re.compile(rb"(PUB|HPUB|SUB) ([^ \t\r\n]+(?: [^ \t\r\n]+)*)\r\n", re.DOTALL)


class PropertyTests(SynchronousTestCase):
    """What holds for any argument."""

    def assert_one_frame(self, frame: bytes, arguments: int) -> None:
        """Fail unless these bytes are one frame with so many arguments and nothing after it."""
        match = CLIENT_LINE.match(frame)
        assert match is not None, frame
        tokens = match[2].split(b" ")
        self.assertEqual(len(tokens), arguments)
        rest = frame[match.end() :]
        if match[1] == b"SUB":
            self.assertEqual(rest, b"")
        else:
            self.assertEqual(len(rest), int(tokens[-1]) + 2)
            self.assertEqual(rest[-2:], b"\r\n")

    @given(st.text(), st.none() | st.text(), st.binary())
    def test_any_publish(self, subject: str, reply: str | None, payload: bytes) -> None:
        """Any text as subject and reply either is refused or gives exactly one frame."""
        try:
            frame = encode.publish(subject, payload, reply)
        except ValueError:
            return
        self.assert_one_frame(frame, 2 if reply is None else 3)

    @given(st.text(), st.none() | st.text())
    def test_any_subscribe(self, subject: str, queue: str | None) -> None:
        """Any text as subject and queue group either is refused or gives exactly one frame."""
        try:
            frame = encode.subscribe(subject, queue, 7)
        except ValueError:
            return
        self.assert_one_frame(frame, 2 if queue is None else 3)

    SUBJECTS = st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"]), min_size=1, max_size=50)

    @given(
        SUBJECTS,
        st.none() | SUBJECTS,
        st.binary(),
        st.lists(st.tuples(st.from_regex(r"[!-9;-~]+", fullmatch=True), st.just("v"))),
    )
    def test_there_and_back(
        self, subject: str, reply: str | None, payload: bytes, headers: list[tuple[str, str]]
    ) -> None:
        """What is published is what the parser reads, once the server has put a sid into the line."""
        block = encode_block(headers)
        line, rest = encode.publish(subject, payload, reply, block).split(b"\r\n", 1)
        verb, target, arguments = line.split(b" ", 2)
        relayed = b"%b %b 5 %b\r\n%b" % (verb.replace(b"PUB", b"MSG"), target, arguments, rest)
        self.assertEqual(Parser().receive_data(relayed), [Msg(subject, 5, reply, payload, block)])

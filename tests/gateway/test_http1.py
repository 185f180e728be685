"""HTTP/1.1 without a socket: every response, every cut, every fault, every bound."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.gateway.http1 import (
    MAX_HEAD_BYTES,
    MAX_HEADER_LINES,
    MAX_INTERIM_RESPONSES,
    BadResponse,
    BodyTooLarge,
    Response,
    ResponseParser,
)
from tests.nats import profile  # noqa: F401

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LIMIT = 1000


@dataclass(frozen=True)
class Good:
    """A response and what it is; ``eof`` when it ends with its connection."""

    data: bytes
    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    keep_alive: bool = True
    eof: bool = False
    head_only: bool = False


def length(size: int) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"Content-Length", b"%d" % size),)


TE = ((b"Transfer-Encoding", b"chunked"),)
GOOD = [
    Good(OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi", length(2)),
    Good(OK + b"Content-Length: 0\r\n\r\n", 200, b"", length(0)),
    Good(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", length(2)),
    Good(b"HTTP/1.1 599 \xff\r\nContent-Length: 0\r\n\r\n", 599, b"", length(0)),
    # Values: white space around them is none of them, and what is in them stays.
    Good(
        OK + b"X-A:  \t a b \t \r\nX-B:\r\nx-a: \xc3\xbc\xe9\r\nContent-Length: 0\r\n\r\n",
        200,
        b"",
        ((b"X-A", b"a b"), (b"X-B", b""), (b"x-a", b"\xc3\xbc\xe9"), *length(0)),
    ),
    # Chunks, their extensions, and trailers, which nobody asked for.
    Good(CHUNKED + b"2\r\nhi\r\n0\r\n\r\n", 200, b"hi", TE),
    Good(CHUNKED + b"0\r\n\r\n", 200, b"", TE),
    Good(CHUNKED + b'1;a="b"\r\nh\r\n001\r\ni\r\n0;x\r\nX-T: 1\r\nHost: 5\r\n\r\n', 200, b"hi", TE),
    Good(
        OK + b"transfer-ENCODING:\tChunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        200,
        b"hi",
        ((b"transfer-ENCODING", b"Chunked"),),
    ),
    # Until the end of the connection.
    Good(OK + b"\r\nwhole", 200, b"whole", (), keep_alive=False, eof=True),
    Good(b"HTTP/1.0 200 OK\r\n\r\n", 200, b"", (), keep_alive=False, eof=True),
    Good(b"HTTP/1.1 205 Reset\r\n\r\n", 205, b"", (), keep_alive=False, eof=True),
    # Without a body, whatever the headers say.
    Good(b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    Good(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, b"", length(5)),
    Good(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99999\r\n\r\n", 304, b"", length(99999)),
    Good(OK + b"Content-Length: 99999\r\n\r\n", 200, b"", length(99999), keep_alive=False, head_only=True),
    Good(CHUNKED, 200, b"", TE, keep_alive=False, head_only=True),
    # Others before it.
    Good(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 7\r\n\r\n"
        + OK
        + b"Content-Length: 2\r\n\r\nhi",
        200,
        b"hi",
        length(2),
    ),
    # Whether the connection stays.
    Good(
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi",
        200,
        b"hi",
        ((b"Connection", b"close"), *length(2)),
        keep_alive=False,
    ),
    Good(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", length(2), keep_alive=False),
    Good(
        b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi",
        200,
        b"hi",
        ((b"Connection", b"Keep-Alive"), *length(2)),
    ),
    # An offer to change the protocol that may be passed over.
    Good(
        OK + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi",
        200,
        b"hi",
        ((b"Connection", b"Upgrade"), (b"Upgrade", b"h2c"), *length(2)),
    ),
]  # fmt: skip
SWITCH = "it changes to another protocol, which nobody asked for"
BOTH = "it has a Content-Length and a Transfer-Encoding"
CODING = "its body has an unknown transfer coding"
BAD = [
    (b"garbage\r\n\r\n", "it is not HTTP/1.1"),
    (b"\r\n" + OK, "it is not HTTP/1.1"),
    (b"http/1.1 200 OK\r\n", "it is not HTTP/1.1"),
    (b"RTSP/1.0 200 OK\r\n", "it is not HTTP/1.1"),
    (b"HTTP/2.0 200 OK\r\n", "it is not HTTP/1.1"),
    (b"HTTP/0.9 200 OK\r\n", "it is not HTTP/1.1"),
    (b"GET / HTTP/1.1\r\n\r\n", "it is not HTTP/1.1"),
    (b"HTTP/1.2 200 OK\r\n", "its version of HTTP is unknown"),
    (b"HTTP/1.1\t200 OK\r\n", "the status line is malformed"),
    (b"HTTP/1.1 2000 OK\r\n", "the status is not a number of three digits"),
    (b"HTTP/1.1 20 OK\r\n", "the status is not a number of three digits"),
    (b"HTTP/1.1 3022 Found\r\nContent-Length: 0\r\n\r\n", "the status is not a number of three digits"),
    (b"HTTP/1.1 200000\r\nContent-Length: 0\r\n\r\n", "the status is not a number of three digits"),
    (b"HTTP/1.1 \t0 OK\r\nContent-Length: 0\r\n\r\n", "the status is not a number of three digits"),
    (OK + b"X-A: a\0\nB: 1\r\nContent-Length: 0\r\n\r\n", "a header's value has a character that none may have"),
    (b"HTTP/1.1 abc\r\n", "the status is not a number of three digits"),
    (b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", "its status is 099"),
    (b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n", "its status is 600"),
    (b"HTTP/1.1 999 OK\r\n\r\n", "its status is 999"),
    (b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", SWITCH),
    (b"HTTP/1.1 101 Switching\r\n\r\n", SWITCH),
    (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "the status line does not end with CR LF"),
    (OK + b"A: 1\nB: 2\r\n\r\n", "a header line is folded or does not end with CR LF"),
    (OK + b"A: 1\rB: 2\r\n\r\n", "a header line is folded or does not end with CR LF"),
    (OK + b"A: 1\r\n folded\r\n\r\n", "a header line is folded or does not end with CR LF"),
    (OK + b"A: 1\x00\r\n\r\n", "a header's value has a character that none may have"),
    (OK + b"A: 1\x7f\r\n\r\n", "a header's value has a character that none may have"),
    (OK + b"A\r\n\r\n", "a header line has no valid name"),
    (OK + b"A : 1\r\n\r\n", "a header line has no valid name"),
    (OK + b": 1\r\n\r\n", "a header line has no valid name"),
    (OK + b"A(: 1\r\n\r\n", "a header line has no valid name"),
    (OK + b"\xc3\xbc: 1\r\n\r\n", "a header line has no valid name"),
    (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", "its Content-Length is not one number"),
    # RFC 9110, 8.6: the same twice may be refused.
    (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "its Content-Length is not one number"),
    (OK + b"Content-Length: 2, 2\r\n\r\nhi", "its Content-Length is not one number"),
    (OK + b"Content-Length: -2\r\n\r\nhi", "its Content-Length is not one number"),
    (OK + b"Content-Length: +2\r\n\r\nhi", "its Content-Length is not one number"),
    (OK + b"Content-Length: \r\n\r\nhi", "its Content-Length is not one number"),
    (OK + b"Content-Length: 99999999999999999999\r\n\r\nhi", "its Content-Length is not one number"),
    # RFC 9112, 6.1: "ought to be handled as an error".
    (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", BOTH),
    (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n", BOTH),
    (OK + b"Transfer-Encoding: gzip\r\n\r\nhi", CODING),
    (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", CODING),
    (OK + b"Transfer-Encoding: chunked, gzip\r\n\r\nhi", CODING),
    (OK + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", CODING),
    (OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", CODING),
    (OK + b"Transfer-Encoding: identity\r\n\r\nhi", CODING),
    (CHUNKED + b"zz\r\nhi\r\n", "a chunk of its body is malformed"),
    (CHUNKED + b"-1\r\nhi\r\n", "a chunk of its body is malformed"),
    (CHUNKED + b"FFFFFFFFFFFFFFFFFF\r\nhi\r\n", "a chunk of its body is malformed"),
    (CHUNKED + b"2\nhi\n0\n\n", "a chunk of its body is malformed"),
    (CHUNKED + b"2\r\nhiXX", "a chunk of its body is malformed"),
    (CHUNKED + b"0\r\nContent-Length: 2\r\n\r\n", BOTH),
    (CHUNKED + b"0\r\nA(: 1\r\n\r\n", "a header line has no valid name"),
]  # fmt: skip

Result = tuple[Response | None, bool, str | None]


def read(pieces: list[bytes], *, eof: bool = False, head_only: bool = False, limit: int = LIMIT) -> Result:
    """The response of these pieces, whether the connection stays, and what is wrong."""
    parser = ResponseParser(limit)
    parser.expect(head_only=head_only)
    try:
        for piece in pieces:
            if parser.receive_data(piece):
                break
        if eof and not parser.complete:
            parser.receive_eof()
    except BadResponse as e:
        return None, False, str(e)
    except BodyTooLarge:
        return None, False, "too large"
    return (parser.response() if parser.complete else None), parser.keep_alive, None


class ResponseCase(SynchronousTestCase):
    """What a response has to be."""

    def check(self, good: Good, pieces: list[bytes]) -> None:
        response, keep_alive, reason = read(pieces, eof=good.eof, head_only=good.head_only)
        assert response is not None, (reason, good)
        found = (response.status, response.body, response.headers, keep_alive)
        self.assertEqual(found, (good.status, good.body, good.headers, good.keep_alive), good)


class ParserTests(ResponseCase):
    """Responses and faults, however they come."""

    def test_whole(self) -> None:
        """Each response is what it says."""
        for good in GOOD:
            self.check(good, [good.data])

    def test_byte_by_byte(self) -> None:
        """It is the same when every byte comes alone, and is whole with the last one only."""
        for good in GOOD:
            self.check(good, [bytes([byte]) for byte in good.data])
            if not good.eof:
                response, _, reason = read([bytes([byte]) for byte in good.data[:-1]], head_only=good.head_only)
                self.assertEqual((response, reason), (None, None), good)

    def test_every_split(self) -> None:
        """It is the same wherever it is cut in two."""
        for good in GOOD:
            for cut in range(len(good.data) + 1):
                self.check(good, [piece for piece in (good.data[:cut], good.data[cut:]) if piece])

    def test_one_after_the_other(self) -> None:
        """One parser reads all that comes on a connection."""
        for pieces in (1, 3):
            parser = ResponseParser(LIMIT)
            for good in [good for good in GOOD if good.keep_alive] * 2:
                parser.expect()
                size = len(good.data) // pieces + 1
                for begin in range(0, len(good.data), size):
                    parser.receive_data(good.data[begin : begin + size])
                self.assertEqual((parser.complete, parser.keep_alive), (True, True), good)
                response = parser.response()
                self.assertEqual(
                    (response.status, response.body, response.headers), (good.status, good.body, good.headers)
                )

    def test_faults(self) -> None:
        """Each is told in our words, whole and byte by byte."""
        for data, reason in BAD:
            self.assertEqual(read([data]), (None, False, reason), data)
            self.assertEqual(read([bytes([byte]) for byte in data]), (None, False, reason), data)

    def test_cut(self) -> None:
        """A response that needs no end of the connection is not made whole by one."""
        for good in GOOD:
            if not good.eof and not good.head_only:
                for cut in range(len(good.data)):
                    response, _, reason = read([good.data[:cut]] if cut else [], eof=True)
                    self.assertEqual((response, reason), (None, None), (good, cut))

    def test_begun(self) -> None:
        """A response has begun with its first byte; those before it (1xx) do not count."""
        for pieces, begun in (
            ([], False),
            ([b"H"], True),
            ([b"x"], True),
            ([OK], True),
            ([b"HTTP/1.1 100 Continue\r\n\r\n"], False),
            ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 E\r\n\r\n"], False),
            ([b"HTTP/1.1 100 Continue\r\n\r\nH"], True),
            ([OK + b"Content-Length: 2\r\n\r\nh"], True),
        ):
            parser = ResponseParser(LIMIT)
            for piece in pieces:
                try:
                    parser.receive_data(piece)
                except BadResponse:
                    self.assertEqual(piece, b"x")
            self.assertEqual(parser.begun, begun, pieces)
            parser.expect()
            self.assertFalse(parser.begun)

    def test_surplus(self) -> None:
        """What comes behind a response spoils the connection, not the response."""
        whole = OK + b"Content-Length: 2\r\n\r\nhi"
        for surplus in (b"x", whole, b"HTTP/1.1 200", b"\0"):
            response, keep_alive, _ = read([whole + surplus])
            assert response is not None
            self.assertEqual((response.body, keep_alive), (b"hi", False), surplus)
        closing = OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi"
        self.assertEqual(read([closing + b"x"])[1:], (False, None))

    def test_reply(self) -> None:
        """What can be asked of a response, without regard to case, and what it shows."""
        response, _, _ = read(
            [b"HTTP/1.0 404 Not  Found\r\nA-B: 1\r\na-b: 2\r\nEmpty:\r\nContent-Length: 6\r\n\r\nsecret"]
        )
        assert response is not None
        self.assertEqual((response.phrase, response.version), (b"Not  Found", (b"HTTP", 1, 0)))
        self.assertEqual(
            [response.header(name) for name in (b"a-B", b"b", b"EMPTY", b"HTTP/1.0 404")], [b"1", None, b"", None]
        )
        self.assertEqual(repr(response), "<Response 404, 6 bytes>")


class BoundTests(ResponseCase):
    """What comes from outside ends, whatever it is."""

    def fill(self, head: bytes, piece: bytes, most: int) -> str | None:
        """What is said of a head that goes on and on, and that it is said in time."""
        parser = ResponseParser(LIMIT)
        received = 0
        try:
            parser.receive_data(head)
            while received < most:
                parser.receive_data(piece)
                received += len(piece)
        except BadResponse as e:
            return str(e)
        return None

    def test_head(self) -> None:
        """A head without end, of many lines, one line, or a reason phrase; below the bound it is read."""
        said = f"its head is larger than {MAX_HEAD_BYTES} bytes"
        for head, piece in ((OK, b"A: 1\r\n" * 1000), (OK + b"A: ", b"x" * 5000), (b"HTTP/1.1 200 ", b"x" * 5000)):
            self.assertEqual(self.fill(head, piece, MAX_HEAD_BYTES + 5001), said)
        end = b"\r\nContent-Length: 0\r\n\r\n"
        fits = OK + b"A: " + b"x" * (MAX_HEAD_BYTES - len(OK) - 3 - len(end)) + end
        self.assertEqual(read([fits])[2], None)
        self.assertEqual(read([fits.replace(b"A: ", b"A: x")])[2], said)

    def test_body_of_a_long_head(self) -> None:
        """What comes along with the head's end does not count as head."""
        body = b"x" * 2 * MAX_HEAD_BYTES
        response, _, _ = read([OK + b"Content-Length: %d\r\n\r\n" % len(body) + body], limit=len(body))
        assert response is not None
        self.assertTrue(response.body == body)

    def test_lines(self) -> None:
        """The number of header lines."""
        for number, reason in (
            (MAX_HEADER_LINES, None),
            (MAX_HEADER_LINES + 1, f"it has more than {MAX_HEADER_LINES} header lines"),
        ):
            data = OK + b"A: 1\r\n" * (number - 1) + b"Content-Length: 0\r\n\r\n"
            self.assertEqual(read([data])[2], reason)

    def test_interim_responses(self) -> None:
        """The number of responses before the one."""
        one = b"HTTP/1.1 100 Continue\r\n\r\n"
        end = OK + b"Content-Length: 0\r\n\r\n"
        self.assertEqual(read([one * MAX_INTERIM_RESPONSES + end])[2], None)
        said = f"more than {MAX_INTERIM_RESPONSES} responses 1xx came before it"
        for pieces in ([one * (MAX_INTERIM_RESPONSES + 1)], [one] * (MAX_INTERIM_RESPONSES + 1)):
            self.assertEqual(read(pieces)[2], said)

    def test_trailers_and_extensions(self) -> None:
        """What is kept nowhere is bounded, too."""
        said = f"its head, trailers and the framing of its chunks are larger than {MAX_HEAD_BYTES} bytes"
        for begin, piece in ((b"0\r\n", b"A: 1\r\n" * 1000), (b"0\r\nA: ", b"x" * 5000), (b"1;", b"x" * 5000)):
            self.assertEqual(self.fill(CHUNKED + begin, piece, MAX_HEAD_BYTES + 5001), said)

    def test_body(self) -> None:
        """A body of a byte too much, by what is announced and by what comes."""
        for size, reason in ((LIMIT, None), (LIMIT + 1, "too large")):
            body = b"x" * size
            for data, eof in (
                (OK + b"Content-Length: %d\r\n\r\n" % size + body, False),
                (CHUNKED + b"%x\r\n" % size + body + b"\r\n0\r\n\r\n", False),
                (CHUNKED + b"1\r\nx\r\n" * size + b"0\r\n\r\n", False),
                (OK + b"\r\n" + body, True),
            ):
                for pieces in ([data], [data[:40], data[40:]], [data[:-1], data[-1:]]):
                    self.assertEqual(read(pieces, eof=eof)[2], reason, data[:60])
        self.assertEqual(read([OK + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1)])[2], "too large")

    def test_tiny_chunks(self) -> None:
        """A body in chunks of two bytes takes memory as its size does, not as their number."""
        number = 300_000
        data = CHUNKED + b"2\r\nhi\r\n" * number + b"0\r\n\r\n"
        pieces = [data[begin : begin + 65536] for begin in range(0, len(data), 65536)]
        tracemalloc.start()
        try:
            response, _, _ = read(pieces, limit=2 * number)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert response is not None
        self.assertEqual(len(response.body), 2 * number)
        self.assertLess(peak, 3 * 2 * number)


class AnyInputTests(ResponseCase):
    """Properties."""

    @given(st.sampled_from(GOOD), st.lists(st.integers(0, 200), max_size=8))
    def test_any_chunking(self, good: Good, cuts: list[int]) -> None:
        """However a response is cut, it is the same."""
        places = [0, *sorted(min(cut, len(good.data)) for cut in cuts), len(good.data)]
        pieces = [good.data[begin:end] for begin, end in pairwise(places)]
        self.check(good, [piece for piece in pieces if piece])

    @given(st.binary(max_size=200), st.integers(0, 200))
    def test_garbage(self, data: bytes, cut: int) -> None:
        """Whatever comes is a response, not yet one, or a fault of ours."""
        for begin in (b"", OK, CHUNKED, b"HTTP/1."):
            whole = begin + data
            read([piece for piece in (whole[:cut], whole[cut:]) if piece], eof=True)

    @given(st.sampled_from(GOOD), st.integers(0, 200), st.binary(max_size=3), st.integers(0, 3), st.integers(0, 250))
    def test_mutations(self, good: Good, place: int, new: bytes, gone: int, cut: int) -> None:
        """A response with some bytes changed means the same in one piece and in two; of two faults either is told."""
        data = good.data[:place] + new + good.data[place + gone :]
        whole = read([data] if data else [], eof=True)
        parts = read([piece for piece in (data[:cut], data[cut:]) if piece], eof=True)
        shown = [
            (response and (response.status, response.headers, response.body), reason is None)
            for response, _, reason in (whole, parts)
        ]
        self.assertEqual(shown[0], shown[1], data)

    @given(st.binary(max_size=300), st.lists(st.integers(1, 50), min_size=1, max_size=10))
    def test_chunks_there_and_back(self, body: bytes, sizes: list[int]) -> None:
        """A body in chunks of any size comes back."""
        data, rest = CHUNKED, body
        for size in sizes * 300:
            if rest:
                data += b"%x\r\n%b\r\n" % (len(rest[:size]), rest[:size])
                rest = rest[size:]
        self.check(Good(data + b"0\r\n\r\n", 200, body, TE), [data + b"0\r\n\r\n"])

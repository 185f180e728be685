"""HTTP/1.1 as a client hears it: bytes to responses. Knows nothing of sockets.

llhttp (by httptools) splits and checks the input, strictly: nothing that RFC 9112 forbids is mended. What is kept of a
head is its bytes: header lines become objects only when somebody asks for them.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache

from httptools import HttpParserError, HttpResponseParser

MAX_HEAD_BYTES = 1 << 20
"""Of the status line and header lines of one response, of those before it (1xx) and of trailers together."""
MAX_HEADER_LINES = 512
MAX_INTERIM_RESPONSES = 10
# The framing of a chunked body may take this many times the body's size, besides what a head may take. A chunk of one
# byte takes five.
_FRAMING_FACTOR = 8

_BEGIN = b"HTTP/1."
# llhttp takes fewer and more digits, and a tab before them.
_STATUS_LINE = re.compile(rb"HTTP/1\.\d [2-5]\d\d(?= |\r|$)")
_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CODING = re.compile(rb"\r\ntransfer-encoding:([^\r]*)", re.IGNORECASE)
# Errors of llhttp in our words; the first row whose text the error contains counts.
_REASONS = (
    ("with Content-Length", "it has a Content-Length and a Transfer-Encoding"),
    ("with Transfer-Encoding", "it has a Content-Length and a Transfer-Encoding"),
    ("Content-Length", "its Content-Length is not one number"),
    ("Transfer-Encoding", "its Transfer-Encoding is not valid"),
    ("after header value", "a header line is folded or does not end with CR LF"),
    ("header token", "a header line has no valid name"),
    ("header value", "a header's value has a character that none may have"),
    ("response line", "the status line does not end with CR LF"),
    ("status", "the status is not a number of three digits"),
    ("after version", "the status line is malformed"),
    ("version", "its version of HTTP is unknown"),
    ("hunk", "a chunk of its body is malformed"),
)


class BadResponse(Exception):
    """A response cannot be read on; the text says why, in a few words."""


class BodyTooLarge(Exception):
    """The body of a response exceeds the limit."""


class Response:
    """
    A whole response.

    :ivar status: 200 to 599.
    :ivar head: the status line and the header lines, as they came, without the empty line.
    :ivar body: as it came: no content coding is undone.
    """

    __slots__ = ("__dict__", "body", "head", "status")

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        self.status = status
        self.head = head
        self.body = body

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"

    @cached_property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Names and values in their order."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        return tuple((name, value.strip(b" \t")) for name, _, value in lines)

    @property
    def phrase(self) -> bytes:
        """The reason phrase, which means nothing."""
        return b" ".join(self.head.partition(b"\r\n")[0].split(b" ")[2:])

    @property
    def version(self) -> tuple[bytes, int, int]:
        """The version of HTTP, as Twisted has it."""
        return (b"HTTP", 1, int(self.head[7:8]))

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; None without one."""
        found = _header_line(name).search(self.head)
        return None if found is None else found[1].strip(b" \t")


@lru_cache(32)
def _header_line(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\r\n" + re.escape(name) + rb":([^\r]*)", re.IGNORECASE)


class ResponseParser:
    """
    Reads the responses on one connection, one after the other.

    Each begins with :meth:`expect`. After an exception nothing more can be read on the connection.

    :param max_body_bytes: of one response; it is enforced while the body comes.
    """

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._parser = HttpResponseParser(self)
        self.expect()

    def expect(self, *, head_only: bool = False) -> None:
        """
        The next response comes.

        :param head_only: it has no body whatever its headers say (HEAD).
        """
        #: The response is whole.
        self.complete = False
        #: The connection can carry another request.
        self.keep_alive = False
        self._head_only = head_only
        self._status = 0
        self._interim = 0
        self._received = 0
        self._raw: bytes | bytearray = b""  # the input until the head is complete
        self._fed = 0  # how much of it the parser has seen
        self._head = b""
        self._body: bytes | bytearray = b""
        self._until_eof = False
        self._fault: BadResponse | BodyTooLarge | None = None

    @property
    def begun(self) -> bool:
        """Something of the response has come, not only of those before it (1xx)."""
        return self._status > 0 or (len(self._raw) > 0 and not (self._interim and self._raw.endswith(_END)))

    @property
    def held_bytes(self) -> int:
        """How much of the response is in memory."""
        return len(self._raw) + len(self._head) + len(self._body)

    def receive_data(self, data: bytes) -> bool:
        """
        Take input; True when the response is whole.

        :raises BadResponse: it breaks the rules, or a bound other than that of the body.
        :raises BodyTooLarge:
        """
        self._received += len(data)
        if self._status:
            self._feed(data)
        else:
            self._receive_head(data)
        # Counts what chunks and trailers take, too, none of which is kept.
        overhead = self._received - len(self._body)
        if overhead > MAX_HEAD_BYTES and overhead > MAX_HEAD_BYTES + _FRAMING_FACTOR * len(self._body):
            what = "its head is" if not self._status else "its head, trailers and the framing of its chunks are"
            raise BadResponse(f"{what} larger than {MAX_HEAD_BYTES} bytes")
        return self.complete

    def receive_eof(self) -> bool:
        """The connection ended, in order; True when that made the response whole (RFC 9112, 6.3)."""
        self.complete = self._until_eof
        return self.complete

    def response(self) -> Response:
        """The response, once it is whole. It is not kept: a connection may rest for long."""
        response = Response(self._status, self._head, bytes(self._body))
        self._head = self._body = b""
        return response

    def _receive_head(self, data: bytes) -> None:
        if self._raw:
            if isinstance(self._raw, bytes):
                self._raw = bytearray(self._raw)
            self._raw += data
        else:
            self._raw = data
        if not self._raw.startswith(_BEGIN):
            # llhttp would read other protocols, too.
            if not _BEGIN.startswith(self._raw):
                raise BadResponse("it is not HTTP/1.1")
            return
        if self._fed:
            self._fed = len(self._raw)
            self._feed(data)
        else:
            self._fed = len(self._raw)
            self._feed(self._raw)
        if self._status:
            self._take_head()

    def _take_head(self) -> None:
        raw, self._raw = bytes(self._raw), b""
        begin = 0
        for _ in range(self._interim):
            begin = raw.index(_END, begin) + len(_END)
        end = raw.index(_END, begin)
        if end + len(_END) > MAX_HEAD_BYTES:
            raise BadResponse(f"its head is larger than {MAX_HEAD_BYTES} bytes")
        if raw.count(b"\n", 0, end) > MAX_HEADER_LINES:
            raise BadResponse(f"it has more than {MAX_HEADER_LINES} header lines")
        self._head = head = raw[begin:end]
        if not _STATUS_LINE.match(head):
            raise BadResponse("the status is not a number of three digits")
        if b"\0" in head:
            raise BadResponse("a header's value has a character that none may have")
        chunked = b"\r\ntransfer-encoding:" in head.lower()
        if chunked and [coding.strip(b" \t").lower() for coding in _CODING.findall(head)] != [b"chunked"]:
            raise BadResponse("its body has an unknown transfer coding")
        if not self.complete and not chunked:
            length = _LENGTH.search(head)
            if length is None:
                self._until_eof = True
            elif int(length[1]) > self._max_body_bytes:
                raise BodyTooLarge()

    def _feed(self, data: bytes | bytearray) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError as e:
            if self.complete:  # what follows is no part of it
                self.keep_alive = False
            elif self._fault is not None:
                raise self._fault from None
            else:
                text = str(e)
                reason = next((ours for theirs, ours in _REASONS if theirs in text), "it is not HTTP/1.1")
                raise BadResponse(reason) from None

    # Callbacks of the parser. An exception in one ends the parser's work.

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("more than one response")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 200 <= status <= 599:
            self._status = status
            if self._head_only:
                self.complete = True
                raise ValueError("there is no body, and the parser cannot be told so")
        elif status == 101:
            self._refuse("it changes to another protocol, which nobody asked for")
        elif 100 <= status <= 199:
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                self._refuse(f"more than {MAX_INTERIM_RESPONSES} responses 1xx came before it")
        else:
            self._refuse(f"its status is {status:03d}")

    def on_body(self, data: bytes) -> None:
        body = self._body
        if len(body) + len(data) > self._max_body_bytes:
            self._fault = BodyTooLarge()
            raise self._fault
        if not body:
            self._body = data
        elif isinstance(body, bytes):
            self._body = bytearray(body) + data
        else:
            body += data

    def on_message_complete(self) -> None:
        if self._status:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()

    def _refuse(self, reason: str) -> None:
        self._fault = BadResponse(reason)
        raise self._fault

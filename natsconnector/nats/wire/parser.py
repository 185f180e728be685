"""Bytes from a server in, events out. Knows nothing of sockets.

The frame loop is the hot path of the whole client: find the line end, slice, split, once each. A frame that is not
complete is kept in pieces and joined once, when it is, so that time stays linear in the input whatever the chunks.
"""

from __future__ import annotations

import json
from typing import Any

from natsconnector.nats.errors import ProtocolViolation
from natsconnector.nats.wire.events import Err, Event, Info, Msg, Ok, Ping, Pong

_MAX_DIGITS = 10
# Subjects and numbers that come again and again are looked up instead of checked and converted; only those that have
# passed all checks are remembered.
_MOST_KNOWN = 1024
_MOST_KNOWN_BYTES = 128
_KNOWN_NUMBERS = {b"%d" % number: number for number in range(10_000)}
_PING, _PONG, _OK = Ping(), Pong(), Ok()


class Parser:
    """
    Parses the server's side of one connection; a new connection needs a new parser.

    :param max_control_line: of every line but INFO, in bytes. The server's own limit of 4096 is one for arguments that
        clients send; what the server sends may be longer.
    :param max_info: of an INFO line, in bytes.
    :param max_payload: of headers and payload of one message, in bytes; 64 MiB is the most a server can be configured
        for.
    """

    def __init__(self, max_control_line: int = 65536, max_info: int = 1 << 20, max_payload: int = 64 << 20) -> None:
        self._max_control_line = max_control_line
        self._max_info = max_info
        self._max_payload = max_payload
        self._chunks: list[bytes] = []  # the begun frame, from its first byte
        self._length = 0  # of all chunks together
        self._wanted = 0  # length of the whole begun frame, 0 while its control line has no end
        self._known_subjects: dict[bytes, str] = {}
        # The known numbers are within the usual limits, but not within any.
        usual = max_payload >= len(_KNOWN_NUMBERS) and max_control_line >= 2 * _MOST_KNOWN_BYTES
        self._known_numbers = _KNOWN_NUMBERS if usual else {}
        #: The framing error after which nothing is parsed any more; None while there was none.
        self.violation: ProtocolViolation | None = None

    @property
    def begun(self) -> bool:
        """Whether a frame has begun that is not complete."""
        return bool(self._chunks)

    def receive_data(self, data: bytes) -> list[Event]:
        """
        The events completed by this piece of input.

        A framing error is told by ``violation``; the events are then those before it, and none come after it.
        """
        events: list[Event] = []
        if self.violation is None and data:
            try:
                self._receive(data, events)
            except ProtocolViolation as violation:
                self.violation = violation
        return events

    def _receive(self, data: bytes, events: list[Event]) -> None:
        if self._chunks:
            self._chunks.append(data)
            self._length += len(data)
            if self._wanted:
                if self._length < self._wanted:
                    return
            elif b"\n" not in data:
                self._check_begun_line()
                return
            data = b"".join(self._chunks)
            self._chunks.clear()
        begun = self._parse_frames(data, events)
        if begun < len(data):
            self._chunks.append(data[begun:] if begun else data)
            self._length = len(data) - begun
            if not self._wanted:
                self._check_begun_line()

    def _parse_frames(self, data: bytes, events: list[Event]) -> int:
        """Append the events of all complete frames; return where the first incomplete one begins."""
        emit = events.append
        find = data.find
        subjects, numbers = self._known_subjects, self._known_numbers
        size = len(data)
        pos = 0
        while (eol := find(b"\n", pos)) >= 0:
            line = data[pos : eol - 1] if eol > pos and data[eol - 1] == 13 else data[pos:eol]
            args = line.split(b" ")
            # The usual message. What is not known, or not quite as usual, is looked at in full below.
            count = len(args)
            if (count == 4 or (count == 5 and _is_usual(args[3]))) and args[0] == b"MSG":
                known = subjects.get(args[1])
                known_sid = numbers.get(args[2])
                known_size = numbers.get(args[-1])
                if known is not None and known_sid is not None and known_size is not None:
                    start = eol + 1
                    end = start + known_size
                    if end + 2 <= size and data[end] == 13 and data[end + 1] == 10:
                        asked = args[3].decode("utf-8", "surrogateescape") if count == 5 else None
                        emit(Msg(known, known_sid, asked, data[start:end]))
                        pos = end + 2
                        continue
            if len(line) > self._max_control_line:
                self._check_length(line[:5], len(line))
            # Only space and tab separate: bytes.split() without argument would also split at a vertical tab, which
            # a publisher may put into a subject.
            if b"" in args or b"\t" in line:
                args = _split(line)
            verb = args[0]
            if verb != b"MSG" and verb != b"HMSG":
                verb = verb.upper()
                if verb != b"MSG" and verb != b"HMSG":
                    emit(_event(verb, line))
                    pos = eol + 1
                    continue
            reply = headers = b""
            count = len(args)
            if verb == b"MSG":
                if count == 4:
                    _, subject, sid, total = args
                elif count == 5:
                    _, subject, sid, reply, total = args
                else:
                    raise ProtocolViolation(f"wrong number of arguments in {_shown(line)}")
                header_size = 0
            else:
                if count == 5:
                    _, subject, sid, headers, total = args
                elif count == 6:
                    _, subject, sid, reply, headers, total = args
                else:
                    raise ProtocolViolation(f"wrong number of arguments in {_shown(line)}")
                if not headers.isdigit() or len(headers) > _MAX_DIGITS:
                    raise ProtocolViolation(f"a bad number in {_shown(line)}")
                header_size = int(headers)
            # int() alone would also take "+2", "-1" and "1_0".
            if not (sid.isdigit() and total.isdigit()) or len(sid) > _MAX_DIGITS or len(total) > _MAX_DIGITS:
                raise ProtocolViolation(f"a bad number in {_shown(line)}")
            total_size = int(total)
            if header_size > total_size or total_size > self._max_payload:
                raise ProtocolViolation(f"a size out of bounds in {_shown(line)}")
            start = eol + 1
            end = start + total_size
            if end + 2 > size:
                self._wanted = end + 2 - pos
                return pos
            if data[end : end + 2] != b"\r\n":
                raise ProtocolViolation(f"no line end after the payload of {_shown(line)}")
            body = start + header_size
            text = subject.decode("utf-8", "surrogateescape")
            if len(subject) <= _MOST_KNOWN_BYTES:
                if len(subjects) >= _MOST_KNOWN:
                    subjects.clear()
                subjects[subject] = text
            emit(
                Msg(
                    text,
                    int(sid),
                    reply.decode("utf-8", "surrogateescape") if reply else None,
                    data[body:end],
                    data[start:body],
                )
            )
            pos = end + 2
        self._wanted = 0
        return pos

    def _check_begun_line(self) -> None:
        """Bound a line also while its end has not come: garbage must not be collected for ever."""
        if self._length <= self._max_control_line:
            return
        head = b"".join(self._chunks[:5])[:5]
        carriage_return = self._chunks[-1][-1:] == b"\r"
        self._check_length(head, self._length - carriage_return)

    def _check_length(self, head: bytes, length: int) -> None:
        is_info = head[:4].upper() == b"INFO" and head[4:] in (b" ", b"\t")
        limit = self._max_info if is_info else self._max_control_line
        if length > limit:
            raise ProtocolViolation(f"a line of more than {limit} bytes")


def _is_usual(reply: bytes) -> bool:
    """A reply subject that needs no further look."""
    return 0 < len(reply) <= _MOST_KNOWN_BYTES and b"\t" not in reply


def _split(line: bytes) -> list[bytes]:
    """The arguments of a line with runs of spaces and tabs between them."""
    if line[:1] in (b"", b" ", b"\t"):
        raise ProtocolViolation("an empty line" if not line else "a line that begins with white space")
    return [arg for arg in line.replace(b"\t", b" ").split(b" ") if arg]


def _event(verb: bytes, line: bytes) -> Event:
    """The event of a frame that is only a line."""
    if verb == b"PING":
        return _PING
    if verb == b"PONG":
        return _PONG
    if verb == b"+OK":
        return _OK
    rest = line[len(verb) :].strip(b" \t")
    if verb == b"-ERR":
        return Err(rest.removeprefix(b"'").removesuffix(b"'").decode("utf-8", "surrogateescape"))
    if verb == b"INFO":
        return Info(_json_object(rest))
    raise ProtocolViolation(f"an unknown operation in {_shown(line)}")


def _json_object(text: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(text.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        raise ProtocolViolation("INFO without readable JSON") from None
    if not isinstance(fields, dict):
        raise ProtocolViolation("INFO without a JSON object")
    return fields


def _shown(line: bytes) -> str:
    return repr(line[:100])[1:]

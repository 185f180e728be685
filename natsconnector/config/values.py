"""How the values of the configuration are written: durations, sizes, switches, lists. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from natsconnector.model.limits import AUTO

T = TypeVar("T")

_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 32
_LONGEST_ADDRESS = 190
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB)?", re.ASCII | re.IGNORECASE)
_UNIT_BYTES = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_LEVELS = ("debug", "info", "warn", "error")
_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def duration(text: str) -> float:
    """Seconds of a duration above zero in Go's form: ``250ms``, ``30s``, ``1m30s``."""
    # The length is bounded first: whoever deploys a function may write anything into an annotation.
    parts = list(_DURATION_PART.finditer(text)) if len(text) <= _LONGEST else []
    if not parts or "".join(part.group() for part in parts) != text:
        hint = f"; seconds are written {text}s" if re.fullmatch(r"\d{1,9}", text, re.ASCII) else ""
        raise ValueError(f"is not a duration like 250ms, 30s or 1m30s{hint}")
    seconds = round(sum(float(part.group(1)) * _UNIT_S[part.group(2)] for part in parts), 9)
    if not 0 < seconds <= 365 * 86400:
        raise ValueError("is not a duration above zero and up to a year")
    return seconds


def size(text: str) -> int:
    """Bytes of a size above zero: ``65536``, ``64KiB``, ``8MiB``."""
    match = _SIZE.fullmatch(text[: _LONGEST + 1])
    if match is None:
        raise ValueError("is not a size like 65536, 64KiB or 8MiB")
    return _within(int(match.group(1)) * _UNIT_BYTES[(match.group(2) or "").lower()], 1, 1 << 40)


def switch(text: str) -> bool:
    """``1/0 true/false yes/no on/off``, any case."""
    try:
        return _SWITCH[text.lower()]
    except KeyError:
        raise ValueError("is neither 1, true, yes, on nor 0, false, no, off") from None


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers from ``least`` to ``most``."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
            raise ValueError("is not a whole number")
        return _within(int(text), least, most)

    parse.bounds = (least, most)  # type: ignore[attr-defined]
    return parse


def max_inflight(text: str) -> int | Literal["auto"]:
    """How many calls may be made at once: a whole number, or ``auto``."""
    if text.lower() == AUTO:
        return AUTO
    if not text.isdecimal():
        raise ValueError("is neither a whole number nor auto")
    return _calls(text)


_calls = whole_number(1, 65536)
max_inflight.bounds = _calls.bounds  # type: ignore[attr-defined]
max_inflight.words = (AUTO,)  # type: ignore[attr-defined]


def log_level(text: str) -> str:
    """``debug``, ``info``, ``warn`` (or ``warning``), ``error``."""
    return one_of(*_LEVELS)({"warning": "warn"}.get(text.lower(), text))


log_level.words = _LEVELS  # type: ignore[attr-defined]


def one_of(*words: str) -> Callable[[str], str]:
    """A parser that takes just ``words``, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return text.lower()

    parse.words = words  # type: ignore[attr-defined]
    return parse


def list_of(parse_item: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """A parser of comma-separated items; blanks around them and empty ones are dropped."""

    def parse(text: str) -> tuple[T, ...]:
        items = [item.strip() for item in text.split(",")]
        parsed, faults = [], []
        for position, item in enumerate(items, start=1):
            if item:
                try:
                    parsed.append(parse_item(item))
                except ValueError as e:
                    # The text names an item by its place, since the item may hold a secret.
                    faults.append(f"has an item, number {position}, that {e}" if len(items) > 1 else str(e))
        if faults:
            raise ValueError("; it ".join(faults))
        if not parsed:
            raise ValueError("names nothing")
        return tuple(dict.fromkeys(parsed))

    parse.is_list = True  # type: ignore[attr-defined]
    return parse


def status_code(text: str) -> int:
    """An HTTP status of a failure."""
    return whole_number(300, 599)(text)


def order_key(text: str) -> str:
    """The name of a header, or ``subject``."""
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", text, re.ASCII):
        raise ValueError("is neither subject nor the name of a header")
    return text.lower()


def word(text: str) -> str:
    """A name without white space, such as a queue group's."""
    if not text or re.search(r"[\s\x00]", text):
        raise ValueError("is not a name: it is empty or has white space")
    return text


def host_pattern(text: str) -> str:
    """A host name, or a pattern of them with ``*``; ``HOST:PORT`` names a port too."""
    if not re.fullmatch(r"[A-Za-z0-9_.*?-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?", text, re.ASCII):
        raise ValueError("is not a host, HOST:PORT or a pattern like *.example.com")
    return text.lower()


def function_pattern(text: str) -> str:
    """A function's name, or a pattern of them with ``*``."""
    if not re.fullmatch(r"[A-Za-z0-9_.*?-]+", text, re.ASCII):
        raise ValueError("is not a function name or a pattern like report-*")
    return text


def delimiter(text: str) -> str:
    """What separates the subjects of an annotation."""
    if len(text) > 5 or any(each.isalnum() or each in ".*>" for each in text):
        raise ValueError("is not a delimiter: it could stand in a subject")
    return text


def content_type(text: str) -> str:
    """A media type, such as ``text/plain``."""
    if "/" not in text or not text.isprintable():
        raise ValueError("is not a content type like text/plain")
    return text


def gateway_url(text: str) -> str:
    """The gateway's base URL in its normal form: with a scheme, without a slash at the end."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError as e:
        raise ValueError(f"is not a URL: {e}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("has a user name or password in it: calls of functions go out without credentials")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"has the unknown scheme {parts.scheme}: http or https")
    if not parts.hostname or port == 0 or not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError("is not a URL like http://gateway:8080")
    if parts.query or parts.fragment:
        raise ValueError("has a query or a fragment, which a base URL cannot have")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def callback_address(text: str) -> str:
    """The base of callback URLs, in its normal form; short, for a URL that is too long is cut off somewhere."""
    url = gateway_url(text)
    if len(url) > _LONGEST_ADDRESS:
        raise ValueError(f"has more than {_LONGEST_ADDRESS} characters")
    return url


def _within(number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise ValueError(f"is not between {least} and {most}")
    return number

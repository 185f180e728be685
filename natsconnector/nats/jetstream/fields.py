"""
Reading fields of JetStream's answers, which are JSON and may hold anything.

Each reader gives a value of its type or raises ``InvalidAnswer``: a type that is wrong must not become a ``TypeError``
somewhere else. A field that is missing or null has the default, as servers leave out what is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from natsconnector.nats.jetstream.errors import InvalidAnswer

_MISSING: Any = object()

#: The largest number that a server counts to.
MOST = (1 << 64) - 1


def text(fields: Mapping[str, Any], name: str, default: str = _MISSING) -> str:
    """
    A text.

    :raises InvalidAnswer: it is something else, or missing without a default.
    """
    value = _value(fields, name, default)
    if not isinstance(value, str):
        _is_no("text", name)
    return value


def integer(fields: Mapping[str, Any], name: str, least: int = 0, most: int = MOST, *, default: int = _MISSING) -> int:
    """
    A whole number from ``least`` to ``most``.

    :raises InvalidAnswer: it is something else, out of these bounds, or missing without a default.
    """
    value = _value(fields, name, default)
    # A bool is an int, too, and 1e999 a float.
    if type(value) is not int:
        _is_no("whole number", name)
    if value is not default and not least <= value <= most:
        raise InvalidAnswer(f"an answer of JetStream has {name} of {_shown(value)}, not from {least} to {most}")
    return value


def seconds(fields: Mapping[str, Any], name: str, least_s: float = 0.0, *, default_s: float = _MISSING) -> float:
    """
    A duration in seconds; it is sent in nanoseconds.

    :raises InvalidAnswer: it is none, is shorter than ``least_s``, or is missing without a default.
    """
    if default_s is not _MISSING and fields.get(name) is None:
        return default_s
    return integer(fields, name, round(least_s * 1e9), (1 << 63) - 1) / 1e9


def flag(fields: Mapping[str, Any], name: str, default: bool = False) -> bool:
    """
    True or false; missing is false.

    :raises InvalidAnswer: it is something else.
    """
    value = _value(fields, name, default)
    if not isinstance(value, bool):
        _is_no("true or false", name)
    return value


def texts(fields: Mapping[str, Any], name: str) -> list[str]:
    """
    A list of texts; missing is empty.

    :raises InvalidAnswer: it is something else, or something else is in it.
    """
    value = _value(fields, name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        _is_no("list of texts", name)
    return value


def integers(fields: Mapping[str, Any], name: str, least: int = 0, most: int = MOST) -> list[int]:
    """
    A list of whole numbers; missing is empty.

    :raises InvalidAnswer: it is something else, or something else is in it.
    """
    value = _value(fields, name, [])
    if not isinstance(value, list) or not all(type(each) is int and least <= each <= most for each in value):
        _is_no(f"list of whole numbers from {least} to {most}", name)
    return value


def fields_of(fields: Mapping[str, Any], name: str, default: dict[str, Any] = _MISSING) -> dict[str, Any]:
    """
    An object, such as ``config`` or ``state``.

    :raises InvalidAnswer: it is something else, or missing without a default.
    """
    value = _value(fields, name, default)
    if not isinstance(value, dict):
        _is_no("object", name)
    return value


def _value(fields: Mapping[str, Any], name: str, default: Any) -> Any:
    value = fields.get(name)
    if value is None:
        if default is _MISSING:
            raise InvalidAnswer(f"an answer of JetStream has no {name}")
        return default
    return value


def _is_no(kind: str, name: str) -> NoReturn:
    raise InvalidAnswer(f"an answer of JetStream has something else than {kind} for {name}")


def _shown(value: int) -> str:
    return str(value) if value.bit_length() <= 128 else "an enormous number"

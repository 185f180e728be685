"""Subjects made of other subjects, as NATS's own subject mapping makes them. Pure."""

from __future__ import annotations

import re

from natsconnector.model.subjects import capturing, reserved_for_nats, subject_fault

_WILDCARD = re.compile(r"\$(\d{1,2})|\{\{ ?wildcard\((\d{1,2})\) ?\}\}")


class SubjectMapping:
    """
    A subject for each that matches ``source``: ``target``, where ``$1``, or ``{{wildcard(1)}}``, stands for what the
    first ``*`` of ``source`` matched.

    :raises ValueError: these are no such subjects; the text says why, and follows them.
    """

    __slots__ = ("_pattern", "_target", "source", "targets")

    def __init__(self, source: str, target: str) -> None:
        if (fault := subject_fault(source)) is not None:
            raise ValueError(f"maps {source!r}, which {fault}")
        wildcards = source.split(".").count("*")
        self._target = [_token(token, wildcards) for token in target.split(".")]
        self.source = source
        self.targets = ".".join(token if isinstance(token, str) else "*" for token in self._target)
        """All subjects that come of it, as a pattern."""
        plain = ".".join(token if isinstance(token, str) else "x" for token in self._target)
        if (fault := subject_fault(plain)) is not None:
            raise ValueError(f"maps to {target!r}, which {fault}")
        if {"*", ">"} & set(plain.split(".")):
            raise ValueError(f"maps to {target!r}, which has wildcards: it is published to, write $1 for the first *")
        if target.startswith("$") and isinstance(self._target[0], str):
            raise ValueError(f"maps to {target!r}: what begins with $ is NATS's own")
        if (reserved := reserved_for_nats(self.targets)) is not None:
            raise ValueError(f"maps to {target!r}, which can be one of {reserved}, which is NATS's own")
        self._pattern = capturing(source)

    def __str__(self) -> str:
        return f"{self.source}={'.'.join(f'${token}' if isinstance(token, int) else token for token in self._target)}"

    def target_of(self, subject: str) -> str | None:
        """What a concrete subject is mapped to; None if it does not match."""
        found = self._pattern.fullmatch(subject)
        if found is None:
            return None
        return ".".join(token if isinstance(token, str) else found[token] for token in self._target)


def _token(token: str, wildcards: int) -> str | int:
    found = _WILDCARD.fullmatch(token)
    if found is None:
        return token
    number = int(found[1] or found[2])
    if not 1 <= number <= wildcards:
        raise ValueError(f"maps to {token}, and there are {wildcards} wildcards * to be mapped")
    return number

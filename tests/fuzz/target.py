"""What a fuzzed part of the connector looks like to whoever runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider


class Fault(Exception):
    """Something that must hold does not."""


class Target(Protocol):
    """One part that is fuzzed."""

    name: str

    def make(self, rng: Random) -> Any:
        """An input; its repr is what a finding shows."""

    def check(self, given: Any) -> Deferred[None] | None:
        """
        Give it the input.

        :raises Exception: any, itself or in the Deferred, is a finding.
        """

    def open(self) -> None:
        """Before the first input."""

    def close(self) -> Deferred[None] | None:
        """After the last."""


class Plain:
    """A target that has nothing to open or close."""

    def open(self) -> None:
        """Nothing."""

    def close(self) -> Deferred[None] | None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class Finding:
    """An input that shows a fault."""

    target: str
    seed: int
    number: int
    given: str
    fault: str

    def __str__(self) -> str:
        again = f"python -m tests.fuzz --seed {self.seed} --only {self.number} {self.target}"
        return f"{self.target}: {self.fault}\n  input: {self.given}\n  again: {again}"


def generator(seed: int, target: str, number: int) -> Random:
    """What makes one input: it depends on no input before it."""
    return Random(f"{seed}/{target}/{number}")


@contextmanager
def no_failures_logged() -> Iterator[None]:
    """
    Whatever catches all exceptions logs them: that is a finding too.

    :raises Fault: a failure was logged.
    """
    logged: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_failure") is not None:
            logged.append(f"{formatEvent(event)}: {event['log_failure'].getTraceback()}")

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    if logged:
        raise Fault(f"a failure was logged: {logged[0]}")


def holds(fact: object, sentence: str) -> None:
    """:raises Fault: it does not."""
    if not fact:
        raise Fault(sentence)

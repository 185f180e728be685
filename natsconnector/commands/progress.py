"""How far a command is, for people."""

from __future__ import annotations

from typing import Protocol

_WIDTH = 30
_REDRAW_S = 0.1


class Output(Protocol):
    """A text file; a terminal, maybe."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...

    def isatty(self) -> bool: ...


class Clock(Protocol):
    """What tells the time."""

    def seconds(self) -> float: ...


class Progress:
    """
    A bar on a terminal. In a file or a pipe only the lines are written.

    :param total: how many steps there are.
    """

    def __init__(self, clock: Clock, output: Output, total: int) -> None:
        self._clock = clock
        self._output = output
        self._total = total
        self._done = 0
        self._shown = ""
        self._drawn_at = -_REDRAW_S
        self._is_terminal = output.isatty()

    def step(self, text: str) -> None:
        """One more step is done; ``text`` says what has come of all."""
        self._done += 1
        now = self._clock.seconds()
        if self._is_terminal and (now - self._drawn_at >= _REDRAW_S or self._done >= self._total):
            self._drawn_at = now
            share = min(self._done / self._total, 1.0) if self._total else 1.0
            filled = round(_WIDTH * share)
            bar = "#" * filled + "-" * (_WIDTH - filled)
            self._show(f"[{bar}] {share:4.0%} {self._done}/{self._total} {text}")

    def line(self, text: str) -> None:
        """Write a line that stays."""
        self._show("")
        self._output.write(f"{text}\n")
        self._output.flush()

    def _show(self, bar: str) -> None:
        if bar or self._shown:
            self._output.write(f"\r{' ' * len(self._shown)}\r{bar}")
            self._output.flush()
            self._shown = bar

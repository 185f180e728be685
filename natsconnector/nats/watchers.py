"""Callbacks that are told of changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, ParamSpec

from twisted.logger import Logger

P = ParamSpec("P")


class Watchers(Generic[P]):
    """
    Tells any number of callbacks of each change.

    All hear all changes in order: a change that a callback brings about is told when the one before it has been told
    to all. What a callback raises is logged.

    :param name: of the method by which callbacks are added, for the log.
    """

    _log = Logger()

    def __init__(self, name: str) -> None:
        self._name = name
        self._callbacks: dict[object, Callable[P, object]] = {}
        self._untold: deque[Callable[[Callable[P, object]], object]] = deque()
        self._telling = False

    def add(self, callback: Callable[P, object]) -> Callable[[], None]:
        """Have the callback told of each change from now on; returns what ends that."""
        key = object()
        self._callbacks[key] = callback

        def remove() -> None:
            self._callbacks.pop(key, None)

        return remove

    def tell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Tell all of a change."""
        if not self._callbacks:
            return
        self._untold.append(lambda callback: callback(*args, **kwargs))
        if self._telling:
            return
        self._telling = True
        while self._untold:
            change = self._untold.popleft()
            for key, callback in list(self._callbacks.items()):
                # A callback that was called before this one may have removed it.
                if key in self._callbacks:
                    self._tell(callback, change)
        self._telling = False

    def _tell(self, callback: Callable[P, object], change: Callable[[Callable[P, object]], object]) -> None:
        try:
            change(callback)
        except Exception:
            self._log.failure("a callback of {callback} has failed", callback=self._name, event="defect")

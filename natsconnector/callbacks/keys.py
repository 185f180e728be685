"""The keys of the seals, read again now and then: whoever rotates them restarts nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from natsconnector.callbacks.seal import Key

_READ_AGAIN_S = 5.0


class Keys:
    """
    The keys of a file. The first one seals, all of them open.

    :param read: gives the secrets of the file, in order.
    :raises ValueError: the file cannot be used, as ``read`` says.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, read: Callable[[], Sequence[bytes]]) -> None:
        self._clock = clock
        self._read = read
        self._secrets: Sequence[bytes] = ()
        self._keys: list[Key] = []
        self._fault: str | None = None
        self._read_at: float = clock.seconds()
        self._take(read())

    @property
    def first(self) -> Key:
        """The one to seal with."""
        return self.all[0]

    @property
    def all(self) -> Sequence[Key]:
        """Those to open with. While the file cannot be used, those that were there before."""
        if self._clock.seconds() - self._read_at >= _READ_AGAIN_S:
            try:
                self._take(self._read())
                self._fault = None
            except ValueError as e:
                self._read_at = self._clock.seconds()
                if self._fault != str(e):
                    self._fault = str(e)
                    self._log.warn(
                        "the file of callback keys {reason}; the connector goes on with the keys read before",
                        reason=self._fault, event="callback_keys_unusable",
                    )  # fmt: skip
        return self._keys

    def _take(self, secrets: Sequence[bytes]) -> None:
        self._read_at = self._clock.seconds()
        if secrets != self._secrets:
            self._secrets, self._keys = secrets, [Key(secret) for secret in secrets]

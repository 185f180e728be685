"""Dead letters of a stream, and putting them back."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from twisted.python.failure import Failure

from natsconnector.model import dead_letter
from natsconnector.model.headers import Header
from natsconnector.nats import BadHeader, BadSubject, MaxPayloadExceeded, NatsClient, NoResponders
from natsconnector.nats.jetstream import JetStream, JetStreamError, StoredMessage


class Result(enum.Enum):
    """What came of a dead letter."""

    PUT_BACK = "put back"
    WAS_THERE = "put back by an earlier run"
    WOULD_PUT_BACK = "would be put back"
    NOT_SELECTED = "not selected"
    LEFT = "left where they are"


class Tally(Counter[Result]):
    """How many came to which result."""

    def add(self, result: Result) -> None:
        self[result] += 1

    def count(self, result: Result) -> int:
        return self[result]

    def __str__(self) -> str:
        return ", ".join(f"{self[result]} {result.value}" for result in Result if self[result]) or "nothing to do"


@dataclass(frozen=True, slots=True)
class Letter:
    """A message in a stream of dead letters."""

    sequence: int
    stored_at: str
    subject: str | None
    """Where it came from; None when it is no dead letter."""
    function: str | None
    status: str
    reason: str
    attempts: str
    payload: bytes
    headers: tuple[Header, ...]
    """Those of the original."""

    @property
    def summary(self) -> str:
        """What it is, in a line."""
        if self.subject is None:
            return "no dead letter"
        function = self.function or "no function"
        return f"{function} on {self.subject}, {self.status}: {self.reason} (after {self.attempts} attempts)"

    def fits(self, *, functions: Sequence[str] | None, statuses: Sequence[str] | None, reason: str | None) -> bool:
        """Whether it is one of those; None selects all, and patterns may have ``*``."""
        return (
            (functions is None or any(fnmatchcase(self.function or "", pattern) for pattern in functions))
            and (statuses is None or any(fnmatchcase(self.status, pattern) for pattern in statuses))
            and (reason is None or reason.lower() in self.reason.lower())
        )


def read_letter(stored: StoredMessage) -> Letter:
    """What a stored message says about itself."""
    headers = stored.headers
    return Letter(
        stored.sequence,
        stored.time,
        headers.get(dead_letter.SUBJECT),
        headers.get(dead_letter.FUNCTION),
        headers.get(dead_letter.STATUS) or "",
        headers.get(dead_letter.REASON) or "",
        headers.get(dead_letter.ATTEMPTS) or "",
        stored.payload,
        tuple(dead_letter.original_headers(headers)),
    )


class Redrive:
    """
    Puts dead letters back, and removes each from its stream when it is safe where it came from.

    :param stream: where they are; :param wanted: which of them.
    :param dry_run: look, and change nothing.
    """

    def __init__(
        self,
        client: NatsClient,
        jetstream: JetStream,
        stream: str,
        wanted: Callable[[Letter], bool],
        *,
        dry_run: bool = False,
    ) -> None:
        self._client = client
        self._jetstream = jetstream
        self._stream = stream
        self._wanted = wanted
        self._dry_run = dry_run
        self._listening: dict[str, list[str]] = {}

    async def run(self, last: int, limit: int | None = None) -> AsyncIterator[tuple[Letter, Result, str]]:
        """
        Each letter up to the sequence number ``last`` with what came of it and, if it is left, why.

        :param limit: how many are put back at the most.
        :raises NatsError: it cannot go on.
        """
        selected = 0
        async for stored in self._jetstream.messages(self._stream):
            if stored.sequence > last or (limit is not None and selected >= limit):
                return
            letter = read_letter(stored)
            if letter.subject is not None and not self._wanted(letter):
                yield letter, Result.NOT_SELECTED, ""
                continue
            selected += 1
            try:
                yield letter, await self._put_back(letter, letter.subject), ""
            except _CannotPutBack as e:
                yield letter, Result.LEFT, str(e)

    async def _put_back(self, letter: Letter, subject: str | None) -> Result:
        if subject is None or subject.startswith("$"):
            # Whoever may publish dead letters could have one be published where only we may.
            raise _CannotPutBack("it names no subject to put it back to")
        listening = await self._streams_on(subject)
        if self._stream in listening:
            raise _CannotPutBack(f"stream {self._stream} itself listens on {subject}")
        if self._dry_run:
            return Result.WOULD_PUT_BACK
        headers = list(letter.headers)
        if letter.function is not None:
            headers.append((dead_letter.ONLY_FUNCTION, letter.function))
        # The same in every run, and never that of another letter: sequences begin anew in a stream made anew.
        headers.append((dead_letter.MESSAGE_ID, f"redrive-{self._stream}-{letter.sequence}-{letter.stored_at}"))
        try:
            if listening:
                stored = await self._jetstream.publish(subject, letter.payload, headers=headers)
                result = Result.WAS_THERE if stored.duplicate else Result.PUT_BACK
            else:
                await self._publish_on_core(subject, letter.payload, headers)
                result = Result.PUT_BACK
        except (BadHeader, BadSubject, JetStreamError, MaxPayloadExceeded, NoResponders) as e:
            raise _CannotPutBack(str(e)) from e
        await self._jetstream.delete_message(self._stream, letter.sequence)
        return result

    async def _streams_on(self, subject: str) -> list[str]:
        if subject not in self._listening:
            self._listening[subject] = await self._jetstream.stream_names(subject)
        return self._listening[subject]

    async def _publish_on_core(self, subject: str, payload: bytes, headers: list[Header]) -> None:
        # As a request, since the server tells at once when nobody hears it. The answer itself is not waited for.
        asked = self._client.request(subject, payload, headers=headers)
        faults: list[Failure] = []
        asked.addErrback(faults.append)
        try:
            await self._client.flush()
            if faults:
                faults[0].raiseException()
        finally:
            asked.cancel()


class _CannotPutBack(Exception):
    """This dead letter stays where it is; the text says why."""

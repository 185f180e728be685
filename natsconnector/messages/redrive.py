"""Dead letters of a stream, and putting them back."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from twisted.python.failure import Failure

from natsconnector.messages.facts import stream_facts
from natsconnector.model import dead_letter
from natsconnector.model.headers import Header
from natsconnector.model.shown import shown
from natsconnector.model.subjects import covers, is_reserved
from natsconnector.nats import (
    BadHeader,
    BadSubject,
    MaxPayloadExceeded,
    NatsClient,
    NoResponders,
    PermissionsViolation,
    RequestTimeout,
)
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
    returns: int
    """How often it was put back before."""
    payload: bytes
    headers: tuple[Header, ...]
    """Those of the original."""

    @property
    def summary(self) -> str:
        """What it is, in a line that is fit for a terminal."""
        if self.subject is None:
            return "no dead letter"
        what = "a message" if self.function is None else self.function
        again = f", put back {self.returns} times before" if self.returns else ""
        return shown(f"{what} on {self.subject}, {self.status}: {self.reason} (after {self.attempts} attempts{again})")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are put back: those that fit all that is given. Patterns may have ``*``."""

    functions: Sequence[str] | None = None
    statuses: Sequence[str] | None = None
    reason: str | None = None
    subjects: Sequence[str] | None = None
    """Subscription subjects, held against where a letter came from."""
    sequences: Sequence[tuple[int, int]] | None = None
    """The first and the last of each range."""
    stored_before: datetime | None = None
    stored_after: datetime | None = None

    def has(self, letter: Letter) -> bool:
        """Whether a letter is one of those."""
        return (
            (self.functions is None or any(fnmatchcase(letter.function or "", pattern) for pattern in self.functions))
            and (self.statuses is None or any(fnmatchcase(letter.status, pattern) for pattern in self.statuses))
            and (self.reason is None or self.reason.lower() in letter.reason.lower())
            and (self.subjects is None or any(covers(pattern, letter.subject or "") for pattern in self.subjects))
            and (self.sequences is None or any(a <= letter.sequence <= b for a, b in self.sequences))
            and self._fits_time(letter.stored_at)
        )

    def _fits_time(self, stored_at: str) -> bool:
        if self.stored_before is None and self.stored_after is None:
            return True
        try:
            # The server writes nanoseconds, Python reads microseconds.
            moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", stored_at).replace("Z", "+00:00"))
        except ValueError:
            return False
        return (self.stored_before is None or moment <= self.stored_before) and (
            self.stored_after is None or moment >= self.stored_after
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
        dead_letter.returns_of(headers, dead_letter.RETURNS),
        stored.payload,
        tuple(dead_letter.original_headers(headers)),
    )


class Redrive:
    """
    Puts dead letters back, and removes each from its stream when it is safe where it came from.

    :param stream: where they are; :param wanted: which of them.
    :param targets: the subjects that may be published to, with wildcards: whoever may publish dead letters could have
        one be published where only the operator may. A subject that begins with ``$`` needs a target that does: what
        is published on ``$KV.`` or ``$O.`` is a change of the bucket, and a letter has the value of back then.
    :param max_returns: how often a letter may have been put back before.
    :param dry_run: look, and change nothing.
    """

    def __init__(
        self,
        client: NatsClient,
        jetstream: JetStream,
        stream: str,
        wanted: Selection,
        *,
        targets: Sequence[str],
        max_returns: int = 3,
        dry_run: bool = False,
    ) -> None:
        self._client = client
        self._jetstream = jetstream
        self._stream = stream
        self._wanted = wanted
        self._targets = tuple(targets)
        self._max_returns = max_returns
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
            if letter.subject is not None and not self._wanted.has(letter):
                yield letter, Result.NOT_SELECTED, ""
                continue
            selected += 1
            try:
                yield letter, await self._put_back(letter, letter.subject), ""
            except _CannotPutBack as e:
                yield letter, Result.LEFT, str(e)

    async def check_that_letters_can_be_removed(self, last: int) -> None:
        """
        :param last: the last sequence of the stream.
        :raises CannotRemove: letters cannot be removed from the stream when they are put back: each run would put them
            back again.
        """
        if stream_facts(self._stream, await self._jetstream.stream(self._stream)).denies_delete:
            raise CannotRemove(
                f"stream {self._stream} does not allow that messages are removed (deny_delete, or sealed)"
            )
        try:
            # The server says that there is no such message to everybody who may remove messages.
            await self._jetstream.delete_message(self._stream, last + 1_000_000)
        except JetStreamError:
            return
        except (PermissionsViolation, RequestTimeout) as e:
            raise CannotRemove(f"messages of stream {self._stream} may not be removed by this user: {e}") from e

    async def _put_back(self, letter: Letter, subject: str | None) -> Result:
        if subject is None:
            raise _CannotPutBack("it names no subject to put it back to")
        if is_reserved(subject):
            raise _CannotPutBack(f"{shown(subject)} is NATS's own")
        if subject.startswith("$") and not any(target.startswith("$") for target in self._targets_of(subject)):
            raise _CannotPutBack(
                f"what is put back on {shown(subject)} would change it to what it was back then: name it with"
                " --to-subject"
            )
        if not self._targets_of(subject):
            raise _CannotPutBack(
                f"{shown(subject)} is not among the subjects {', '.join(self._targets)}: name it with --to-subject"
            )
        if letter.returns >= self._max_returns:
            raise _CannotPutBack(f"it was put back {letter.returns} times already, see --max-returns")
        listening = await self._streams_on(subject)
        if self._stream in listening:
            raise _CannotPutBack(f"stream {self._stream} itself listens on {subject}")
        if self._dry_run:
            return Result.WOULD_PUT_BACK
        headers = list(letter.headers)
        if letter.function is not None:
            headers.append((dead_letter.ONLY_FUNCTION, letter.function))
        headers.append((dead_letter.PUT_BACK, str(letter.returns + 1)))
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
            raise _CannotPutBack(shown(str(e))) from e
        try:
            await self._jetstream.delete_message(self._stream, letter.sequence)
        except JetStreamError as e:
            raise _CannotPutBack(f"it was put back, but not removed from stream {self._stream}: {e}") from e
        return result

    def _targets_of(self, subject: str) -> list[str]:
        return [target for target in self._targets if covers(target, subject)]

    async def _streams_on(self, subject: str) -> list[str]:
        if subject not in self._listening:
            self._listening[subject] = await self._jetstream.stream_names(subject)
        return self._listening[subject]

    async def _publish_on_core(self, subject: str, payload: bytes, headers: list[Header]) -> None:
        # The message goes as a request, since the server then tells at once when nobody hears it. The answer itself is
        # not waited for.
        asked = self._client.request(subject, payload, headers=headers)
        faults: list[Failure] = []
        asked.addErrback(faults.append)
        try:
            await self._client.flush()
            if faults:
                faults[0].raiseException()
        finally:
            asked.cancel()


class CannotRemove(Exception):
    """Dead letters could be put back, but not be removed from their stream; the text says why."""


class _CannotPutBack(Exception):
    """This dead letter stays where it is; the text says why."""

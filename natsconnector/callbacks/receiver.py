"""The callbacks of the gateway's queue-worker: looked at, published, and answered once the result is safe."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web import http

from natsconnector.callbacks.keys import Keys
from natsconnector.callbacks.seal import BadSeal, Ticket, unseal
from natsconnector.messages.results import Results
from natsconnector.model.headers import Header, returned
from natsconnector.model.reply import Reply
from natsconnector.model.seams import ReplyNotSent, ReplyTooLarge

# The community edition's queue-worker posts once, whatever is answered, and meanwhile calls nothing. So it is worth
# waiting for NATS for a while.
_PATIENCE_S = 20.0
_AGAIN_S = 0.5
_MOST_USED = 65_536
_STATUS = re.compile("[1-5][0-9]{2}")
# Headers of the request that are the queue-worker's, or are told by the seal.
_WORKERS = frozenset(
    "accept accept-encoding user-agent x-function-name forwarded via x-forwarded-for x-forwarded-host"
    " x-forwarded-proto x-real-ip x-request-id".split()
)


class Answer(NamedTuple):
    """What the queue-worker is told."""

    status: int
    text: str = ""


class Told(Protocol):
    """Hears what becomes of callbacks."""

    def published(self) -> None:
        """A result is where it was to go."""

    def refused(self, reason: str, text: str) -> None:
        """A callback was refused. :param reason: a word for its kind; :param text: a sentence for people."""

    def not_published(self, subject: str, text: str) -> None:
        """A result could not be published: the queue-worker is asked to come again."""

    def finish(self) -> None:
        """Nothing more comes."""


class Receiver:
    """
    Takes callbacks, each once.

    A callback that another connector has taken is published again, with the id by which a stream knows it.

    :param path: of the callback address, which a proxy in front may have cut off.
    :param now_s: the time, in seconds since 1970.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, path: str, keys: Keys, results: Results, told: Told, *, now_s: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._prefixes = {f"{path}/".encode(), b"/"}
        self._keys = keys
        self._results = results
        self._told = told
        self._now_s = now_s
        self._used: OrderedDict[bytes, int] = OrderedDict()
        self._in_hand: dict[bytes, Deferred[Answer]] = {}
        self._is_stopping = False

    def ticket(self, target: bytes) -> Ticket | None:
        """What a request's target was sealed for; None if it is none of ours."""
        prefix, slash, text = target.rpartition(b"/")
        if prefix + slash not in self._prefixes:
            return None
        try:
            return unseal(text.decode("latin-1"), self._keys.all)
        except BadSeal:
            return None

    def take(self, ticket: Ticket | None, headers: list[Header], body: bytes | None) -> Deferred[Answer]:
        """
        Publish what a callback brings; fires with what the queue-worker is told, and never fails.

        :param body: None if it is larger than what is taken.
        """
        taken = Deferred.fromCoroutine(self._take(ticket, headers, body))
        taken.addErrback(self._defect)
        return taken

    def stop(self, grace_s: float) -> Deferred[None]:
        """Fires when all that is in hand is answered; what has no success within the grace gets 503."""
        self._is_stopping = True
        in_hand = DeferredList(list(self._in_hand.values()))
        return in_hand.addTimeout(grace_s, self._clock).addCallback(lambda _: None)

    async def _take(self, ticket: Ticket | None, headers: list[Header], body: bytes | None) -> Answer:
        if ticket is None:
            # Every URL that we did not seal gets the same answer, which tells nothing about keys and seals.
            return self._refuse(http.NOT_FOUND, "unknown", "its URL was not made with one of the keys")
        if ticket.expires_at_s < self._now_s():
            return self._refuse(http.GONE, "expired", f"the result of {ticket.function} comes too late")
        if ticket.nonce in self._used:
            return self._refuse(http.GONE, "used", f"the result of {ticket.function} was taken before")
        if not self._results.may_go_to(ticket.subject, is_named=ticket.is_named):
            return self._refuse(http.FORBIDDEN, "subject", "the settings no longer allow the subject of the result")
        status = _status(headers)
        if status is None:
            return self._refuse(
                http.BAD_REQUEST, "malformed", "the header X-Function-Status is missing, or not from 100 to 599"
            )
        if ticket.nonce in self._in_hand:
            return Answer(http.SERVICE_UNAVAILABLE, "the same result is being published")
        publishing = Deferred.fromCoroutine(self._publish(ticket, _reply(ticket, status, headers, body)))
        self._in_hand[ticket.nonce] = publishing
        try:
            return await publishing
        except CancelledError:
            return Answer(http.SERVICE_UNAVAILABLE, "stopping")
        finally:
            del self._in_hand[ticket.nonce]

    async def _publish(self, ticket: Ticket, reply: Reply) -> Answer:
        give_up_at_s = self._clock.seconds() + _PATIENCE_S
        while True:
            try:
                try:
                    await self._results.publish(ticket.subject, reply, ticket.hops, ticket.message_id)
                except ReplyTooLarge as e:
                    reply = _too_large(ticket, str(e))
                    await self._results.publish(ticket.subject, reply, ticket.hops, ticket.message_id)
            except ReplyNotSent as e:
                if self._is_stopping or self._clock.seconds() + _AGAIN_S > give_up_at_s:
                    self._told.not_published(ticket.subject, str(e))
                    return Answer(http.SERVICE_UNAVAILABLE, "the result cannot be published now")
                await deferLater(self._clock, _AGAIN_S)
                continue
            self._use(ticket)
            if reply.is_response:
                self._told.published()
                return Answer(http.OK)
            return self._refuse(http.REQUEST_ENTITY_TOO_LARGE, "too_large", reply.error or "")

    def _use(self, ticket: Ticket) -> None:
        self._used[ticket.nonce] = ticket.expires_at_s
        now_s = self._now_s()
        while len(self._used) > _MOST_USED or next(iter(self._used.values())) < now_s:
            self._used.popitem(last=False)
            if not self._used:
                return

    def _refuse(self, status: int, reason: str, text: str) -> Answer:
        self._told.refused(reason, text)
        return Answer(status, "no such callback" if status == http.NOT_FOUND else text)

    def _defect(self, failure: Any) -> Answer:
        self._log.failure("a defect while taking a callback", failure, event="defect")
        return Answer(http.INTERNAL_SERVER_ERROR, "the connector failed because of a defect of its own")


def _status(headers: list[Header]) -> int | None:
    """The function's status; None without one."""
    found = [value for name, value in headers if name.lower() == "x-function-status"]
    return int(found[0]) if len(found) == 1 and _STATUS.fullmatch(found[0]) else None


def _reply(ticket: Ticket, status: int, headers: list[Header], body: bytes | None) -> Reply:
    if body is None:
        return _too_large(ticket, "it is larger than --max-response-bytes, or than the NATS server takes")
    error = None if 200 <= status < 300 else f"{ticket.function} answered {status}"
    functions = returned([(name, value) for name, value in headers if name.lower() not in _WORKERS])
    answers = (("X-Function-Name", ticket.function), *functions)
    return Reply(status, body, answers, error, ticket.call_id, is_response=True)


def _too_large(ticket: Ticket, why: str) -> Reply:
    """What goes to the subject instead, so that who waits there is told: the function did run."""
    error = f"the result of {ticket.function} cannot be published: {why}"
    headers = (("X-Function-Name", ticket.function), ("Content-Type", "text/plain"))
    return Reply(http.REQUEST_ENTITY_TOO_LARGE, error.encode(), headers, error, ticket.call_id)

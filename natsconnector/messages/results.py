"""Where results of asynchronous calls go on NATS: into a stream if one listens, else to whoever does."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from natsconnector.messages.replies import Replies, publish
from natsconnector.messages.storing import store
from natsconnector.model.headers import Header
from natsconnector.model.reply import Reply
from natsconnector.model.seams import ReplyNotSent
from natsconnector.nats import NatsClient, NatsError, PermissionsViolation
from natsconnector.nats.jetstream import NOT_ENABLED, NOT_ENABLED_FOR_ACCOUNT, JetStream, JetStreamError

MESSAGE_ID = "Nats-Msg-Id"
_FLUSH_S = 5.0
# For so long it is remembered whether a stream listens on a subject. A stream that is made meanwhile gets the results
# all the same.
_LOOK_AGAIN_S = 30.0
_MOST_SUBJECTS = 1024
_INBOXES = "_INBOX."


class Results:
    """
    Publishes results, and waits until each is where it has to be.

    :param replies: knows where the connector may publish.
    :param jetstream: is asked which subjects a stream listens on; a refusal must not be told by the client itself.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, client: NatsClient, replies: Replies, jetstream: JetStream) -> None:
        self._clock = clock
        self._client = client
        self._replies = replies
        self._jetstream = jetstream
        self._listens: OrderedDict[str, tuple[float, bool]] = OrderedDict()
        self._may_ask = True

    @property
    def max_bytes(self) -> int:
        """What one result may have, at the most."""
        return self._client.max_payload

    def may_go_to(self, subject: str, *, is_named: bool) -> bool:
        """Whether results may go there. :param is_named: whether a message named it; else it is a reply subject."""
        find = self._replies.subject_of_header if is_named else self._replies.reply_subject
        return find(subject) is not None

    def publish(self, subject: str, reply: Reply, hops: int, message_id: str) -> Deferred[None]:
        """
        Publish a result; fires when a stream that listens on the subject has stored it, or the server has it.

        Fails with :class:`ReplyNotSent` when that is not so, or not known: it may be published again with the same id.

        :param message_id: names the result, so that a stream keeps it once.
        """
        headers = [*self._replies.headers(subject, reply, hops), (MESSAGE_ID, message_id)]
        return Deferred.fromCoroutine(self._publish(subject, reply.body, headers))

    async def _publish(self, subject: str, payload: bytes, headers: list[Header]) -> None:
        if not self._client.ready:
            raise ReplyNotSent(f"there is no connection to NATS: {self._client.last_error or 'not connected yet'}")
        if not subject.startswith(_INBOXES) and await self._has_stream(subject):
            try:
                await store(self._jetstream, subject, payload, headers, "the result")
            except ReplyNotSent:
                # The stream may be gone.
                self._listens.pop(subject, None)
                raise
            return
        refused: list[PermissionsViolation] = []
        forget = self._client.watch_refused_publishes(refused.append)
        try:
            publish(self._client, subject, payload, headers)
            await self._client.flush(_FLUSH_S)
        except NatsError as e:
            raise ReplyNotSent(str(e)) from e
        finally:
            forget()
        for error in refused:
            if error.subject == subject:
                raise ReplyNotSent(str(error))

    async def _has_stream(self, subject: str) -> bool:
        until_s, listens = self._listens.get(subject, (0.0, False))
        if self._clock.seconds() < until_s:
            return listens
        listens = await self._ask(subject)
        self._listens[subject] = (self._clock.seconds() + _LOOK_AGAIN_S, listens)
        self._listens.move_to_end(subject)
        while len(self._listens) > _MOST_SUBJECTS:
            self._listens.popitem(last=False)
        return listens

    async def _ask(self, subject: str) -> bool:
        try:
            names = await self._jetstream.stream_names(subject)
        except JetStreamError as e:
            if e.err_code in (NOT_ENABLED, NOT_ENABLED_FOR_ACCOUNT):
                return False
            raise ReplyNotSent(f"it is not known whether a stream listens on {subject}: {e}") from e
        except PermissionsViolation as e:
            if self._may_ask:
                self._may_ask = False
                self._log.warn(
                    "results are published without knowing whether a stream stores them, since the server does not let"
                    " the connector ask: {reason}",
                    reason=e, event="results_unconfirmed",
                )  # fmt: skip
            return False
        except NatsError as e:
            raise ReplyNotSent(f"it is not known whether a stream listens on {subject}: {e}") from e
        return bool(names)

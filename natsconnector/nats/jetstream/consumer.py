"""Taking messages from a durable pull consumer. Source: ADR-37 and the server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from natsconnector.nats.backoff import Backoff
from natsconnector.nats.client import NatsClient
from natsconnector.nats.errors import NatsError, PermissionsViolation
from natsconnector.nats.jetstream.acks import Position, position
from natsconnector.nats.jetstream.api import JetStream, check_name
from natsconnector.nats.jetstream.statuses import Then, what_follows
from natsconnector.nats.status import Status
from natsconnector.nats.subscription import Subscription
from natsconnector.nats.wire.events import Msg

_EXPIRES_S = 30.0
_EXPIRES_PINNED_S = 10.0
# The server refuses a heartbeat of more than half the time a pull may take.
_HEARTBEATS_PER_PULL = 6
_MISSED_HEARTBEATS = 2
_MOST_SILENCES = 2
_RETRY_S = (0.1, 10.0)
_PIN_ID = "Nats-Pin-Id"
_WRONG_PIN = 423


@dataclass(slots=True)
class _Pull:
    """
    The pull that waits at the server.

    :ivar number: the last token of its reply subject, where its statuses come.
    :ivar remaining: how many messages it still asks for.
    :ivar heard_s: when something came of it the last time.
    """

    number: int
    remaining: int
    heard_s: float


class PullConsumer:
    """
    Messages of a durable pull consumer, never more at once than there is room for.

    At most one pull waits at the server, for as many messages as there is room; so all that comes has its place, and
    each end of a pull that the server reports is that of this one. The next pull follows when it has ended, when the
    connection is new, and when heartbeats stay away.

    :param room: how many messages may come now.
    :param deliver: called with each message and where it stands in its stream.
    :param lost: called once, with the reason, when the consumer is gone or unusable; nothing comes any more then.
    :param group: the consumer's priority group, where it is pinned to one of those who pull (ADR-42).
    :param pinned: called when it is pinned to this one, before the first message.
    :param expires_s: how long a pull may wait at the server; None: half a minute, or ten seconds in a group.
    :param random: for the jitter of retries; the operating system's otherwise.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        jetstream: JetStream,
        stream: str,
        consumer: str,
        *,
        room: Callable[[], int],
        deliver: Callable[[Msg, Position], object],
        lost: Callable[[str], object],
        group: str | None = None,
        pinned: Callable[[], object] = lambda: None,
        expires_s: float | None = None,
        random: Random | None = None,
    ) -> None:
        self._clock = clock
        self._client: NatsClient = jetstream.client
        self._subject = f"{jetstream.prefix}CONSUMER.MSG.NEXT.{check_name(stream)}.{check_name(consumer)}"
        self._name = f"{stream}/{consumer}"
        self._room = room
        self._deliver = deliver
        self._lost = lost
        self._pinned = pinned
        # What each pull says of that group: its name, and the id of the pin once the server has given one.
        self._group: dict[str, str] = {} if group is None else {"group": group}
        self._expires_s = expires_s or (_EXPIRES_S if group is None else _EXPIRES_PINNED_S)
        self._most_in_a_pull: int | None = None
        self._inbox: Subscription | None = None
        self._inbox_subject = ""
        self._pulls = 0
        self._pull: _Pull | None = None
        self._silences = 0
        self._backoff = Backoff(*_RETRY_S, random)
        self._told_reason = ""
        self._watch: IDelayedCall | None = None
        self._again: IDelayedCall | None = None
        self._unwatch: list[Callable[[], None]] = []

    def start(self) -> None:
        """Begin to take messages; there has to be a connection only sooner or later."""
        self._inbox_subject = self._client.new_inbox()
        self._inbox = self._client.subscribe(f"{self._inbox_subject}.*", self._received)
        self._unwatch = [
            self._inbox.watch(self._inbox_changed),
            self._client.watch_status(self._status_changed),
            self._client.watch_refused_publishes(self._publish_refused),
        ]
        self.pull()

    def stop(self) -> None:
        """Take no more. The server drops the waiting pull, since its inbox has no subscriber any more."""
        inbox = self._leave()
        if inbox is not None:
            inbox.unsubscribe()

    def drain(self) -> Deferred[None]:
        """Take no more, but deliver what is on its way; fires when that is done. Fails with ``FlushTimeout``."""
        inbox = self._leave()
        return succeed(None) if inbox is None else inbox.drain()

    def _leave(self) -> Subscription | None:
        for unwatch in self._unwatch:
            unwatch()
        self._cancel_timers()
        inbox, self._inbox = self._inbox, None
        if inbox is not None and "id" in self._group and self._client.ready:  # so that the next one need not wait
            unpin = self._subject.replace("CONSUMER.MSG.NEXT.", "CONSUMER.UNPIN.", 1)
            self._client.publish(unpin, json.dumps({"group": self._group["group"]}).encode())
        return inbox

    def pull(self) -> None:
        """Ask for as many messages as there is room for, unless a pull waits; to be called when there is more."""
        if self._inbox is None or self._pull is not None or self._again is not None or not self._client.ready:
            return
        if self._inbox.error is not None:  # no message would arrive; the client asks for the subscription again
            return
        batch = self._room()
        if self._most_in_a_pull is not None:
            batch = min(batch, self._most_in_a_pull)
        if batch <= 0:
            return
        heartbeat_ns = int(self._expires_s * 1e9) // _HEARTBEATS_PER_PULL
        expires_ns = heartbeat_ns * _HEARTBEATS_PER_PULL
        request = {"batch": batch, "expires": expires_ns, "idle_heartbeat": heartbeat_ns, **self._group}
        self._pulls += 1
        try:
            self._client.publish(self._subject, json.dumps(request).encode(), reply=self._status_subject(self._pulls))
        except NatsError as e:
            self._try_later(f"cannot ask for messages: {e}")
            return
        self._pull = _Pull(self._pulls, batch, self._clock.seconds())
        if self._watch is None:
            self._watch_heartbeats()

    def _status_subject(self, number: int) -> str:
        return f"{self._inbox_subject}.{number}"

    def _received(self, msg: Msg) -> None:
        pull = self._pull
        where = position(msg.reply)
        if where is None:
            # The server sends a status to the reply subject of its pull. One of a pull that was given up is ignored,
            # and so is a publisher's message with the header block of a status.
            if pull is not None and msg.status is not None and msg.subject == self._status_subject(pull.number):
                self._status(pull, msg)
            return
        self._all_is_well()
        if pull is not None:
            pull.heard_s = self._clock.seconds()
            pull.remaining -= 1
            if not pull.remaining:
                self._pull = None
        if self._group and (pin := msg.headers.get(_PIN_ID)) and pin != self._group.get("id"):
            self._group["id"] = pin
            self._pinned()
        self._deliver(msg, where)
        self.pull()

    def _status(self, pull: _Pull, msg: Msg) -> None:
        """A heartbeat, or the end of the pull."""
        text = msg.description or ""
        then, found = what_follows(msg.status, text)
        if then is Then.WAIT:
            pull.heard_s = self._clock.seconds()
            self._all_is_well()
            return
        self._pull = None
        if self._inbox is None:  # what is on its way is still delivered, but nothing is asked for any more
            return
        if self._group and msg.status == _WRONG_PIN:  # the next pull waits for its turn
            self._group.pop("id", None)
            then = Then.NEXT
        if then is Then.NEXT:
            self._all_is_well()
            self.pull()
        elif then is Then.SMALLER:
            self._keep_to(found[1].lower(), found[2])
        elif then is Then.LATER:
            self._try_later(f"{msg.status} {text}")
        else:
            self._end(
                "nobody answers its pulls: the consumer is gone, or JetStream is"
                if msg.status == 503
                else f"{msg.status} {text}"
            )

    def _keep_to(self, what: str, limit: str) -> None:
        """The consumer allows smaller pulls only."""
        if what == "batch" and limit.isdigit() and len(limit) < 10 and int(limit) > 0:
            self._most_in_a_pull = int(limit)
            self.pull()
        elif what == "expires" and self._expires_s > 1.0:
            self._expires_s /= 2
            self.pull()
        else:
            self._end(f"it allows no pull of a useful size: {what} of {limit} at the most")

    def _status_changed(self, old: Status, new: Status, reason: str) -> None:
        # The server drops a pull with its connection; the rest of its messages never comes.
        self._pull = None
        self._cancel_timers()
        if new is Status.CONNECTED:
            self._all_is_well()
            self.pull()

    def _inbox_changed(self, inbox: Subscription) -> None:
        if inbox.error is not None:
            self._pull = None
        elif inbox.confirmed:
            self.pull()

    def _publish_refused(self, error: PermissionsViolation) -> None:
        if error.subject == self._subject and self._pull is not None:
            self._pull = None
            self._try_later(str(error))

    def _all_is_well(self) -> None:
        self._backoff.reset()
        self._silences = 0
        self._told_reason = ""

    def _watch_heartbeats(self) -> None:
        """While a pull waits: see to it that the server still knows of it."""
        self._watch = None
        pull = self._pull
        if pull is None:
            return
        allowed_s = self._expires_s / _HEARTBEATS_PER_PULL * _MISSED_HEARTBEATS
        silent_s = self._clock.seconds() - pull.heard_s
        if silent_s < allowed_s:
            self._watch = self._clock.callLater(allowed_s - silent_s, self._watch_heartbeats)
            return
        self._pull = None
        self._silences += 1
        if self._silences > _MOST_SILENCES:
            self._end("it sends neither messages nor heartbeats")
            return
        self._log.warn(
            "no heartbeat of consumer {consumer} for {silent_s:.1f} s; the client asks for messages again",
            consumer=self._name, silent_s=silent_s, event="consumer_silent",
        )  # fmt: skip
        self.pull()

    def _try_later(self, reason: str) -> None:
        """Pull again after a pause that grows while nothing comes."""
        if self._again is not None:
            return
        delay_s = self._backoff.next_s()
        if reason != self._told_reason:
            self._told_reason = reason
            self._log.warn(
                "a pull of consumer {consumer} has ended: {reason}; the next follows in {delay_s:.1f} s",
                consumer=self._name, reason=reason, delay_s=delay_s, event="pull_ended",
            )  # fmt: skip
        self._again = self._clock.callLater(delay_s, self._pull_again)

    def _pull_again(self) -> None:
        self._again = None
        self.pull()

    def _cancel_timers(self) -> None:
        for timer in (self._watch, self._again):
            if timer is not None and timer.active():
                timer.cancel()
        self._watch = self._again = None

    def _end(self, reason: str) -> None:
        self.stop()
        self._lost(reason)

"""Where replies may go, and what they are on NATS."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from natsconnector.model.call import CALL_ID
from natsconnector.model.headers import HOPS, Header, hops_of
from natsconnector.model.mapping import SubjectMapping
from natsconnector.model.reply import Reply
from natsconnector.model.seams import ReplyNotSent, ReplyTooLarge
from natsconnector.model.subjects import covers, subject_fault
from natsconnector.nats import MaxPayloadExceeded, Msg, NatsClient, NatsError, PermissionsViolation

_INBOXES = "_INBOX."


class Replies:
    """
    Publishes replies.

    A reply is published with the connector's rights, so that a publisher must not choose freely where it goes: never
    to a subject of the server, never where the connector itself listens, and to a subject that a header names only if
    that is allowed. NATS itself lets a publisher choose a reply subject; there only the first two count.

    :param allow: patterns of the subjects that a header may name.
    :param unasked: where replies go to messages that ask for none; the first that matches counts.
    :param not_sent: told of each answer that nobody gets why: ``not_allowed``, or ``refused`` by the server.
    """

    def __init__(
        self,
        client: NatsClient,
        allow: Sequence[str] = ("_INBOX.>",),
        unasked: Sequence[SubjectMapping] = (),
        not_sent: Callable[[str], object] = lambda reason: None,
    ) -> None:
        self._client = client
        self._allow = tuple(allow)
        self._unasked = tuple(unasked)
        self._not_sent = not_sent
        self._never: tuple[str, ...] = ()

    def never(self, subjects: Iterable[str]) -> None:
        """Send no reply to what these subscription subjects hear: the connector listens there, or puts dead letters."""
        self._never = tuple(subjects)

    def reply_subject(self, subject: str | None) -> str | None:
        """Where to answer a message with this reply subject; None where there is to be no answer."""
        if subject is None or subject.startswith(_INBOXES):
            return subject
        # A $ subject belongs to the server: a reply to $JS.ACK would acknowledge a message, and a publisher could use
        # our permissions to call $JS.API.
        return None if subject.startswith("$") or self._is_heard(subject) else subject

    def subject_unasked(self, subject: str) -> str | None:
        """Where to answer a message on this subject that asks for no reply; None where there is to be no answer."""
        for mapping in self._unasked:
            if (target := mapping.target_of(subject)) is not None:
                # A publisher's token may be anything: a wildcard, too.
                is_one = subject_fault(target) is None and not {"*", ">"} & {*target.split(".")}
                return self.reply_subject(target) if is_one else None
        return None

    def subject_of_header(self, subject: str | None) -> str | None:
        """The same for a subject that a header asks for."""
        if not subject:
            return None
        allowed = any(covers(pattern, subject) for pattern in self._allow) and not subject_fault(subject)
        found = self.reply_subject(subject) if allowed else None
        if found is None:
            self._not_sent("not_allowed")
        return found

    def refused(self, error: PermissionsViolation) -> None:
        """The server has refused a publish: a reply, unless it was for the server itself, or a dead letter."""
        if not error.subject.startswith("$") and not self._is_heard(error.subject):
            self._not_sent("refused")

    def publish(self, subject: str, reply: Reply, to: Msg) -> None:
        """
        Publish a reply.

        :param to: the message that is answered.
        :raises ReplyNotSent: nothing was published.
        """
        publish(self._client, subject, reply.body, self.headers(subject, reply, hops_of(to.headers)))

    def headers(self, subject: str, reply: Reply, hops: int) -> list[Header]:
        """The headers of a reply, as :meth:`publish` publishes it."""
        headers = reply_headers(reply)
        if not subject.startswith(_INBOXES):
            headers.append((HOPS, str(hops + 1)))
        return headers

    def _is_heard(self, subject: str) -> bool:
        return any(covers(pattern, subject) for pattern in self._never)


def reply_headers(reply: Reply) -> list[Header]:
    """
    The headers of a reply on NATS: those of the response, its status, the call's id.

    A failure has ``Nats-Service-Error-Code`` and ``Nats-Service-Error`` too (ADR-32), so that NATS's own tools show it.
    """
    headers = [("X-Function-Status", str(reply.status))] if reply.is_response else []
    headers += reply.headers
    if reply.call_id is not None:
        headers.append((CALL_ID, reply.call_id))
    if reply.error is not None:
        headers += [("Nats-Service-Error-Code", str(reply.status)), ("Nats-Service-Error", reply.error)]
    return headers


def publish(client: NatsClient, subject: str, payload: bytes, headers: list[Header]) -> None:
    """
    Publish a reply, or a dead letter.

    :raises ReplyNotSent: nothing was published.
    """
    try:
        client.publish(subject, payload, headers=headers)
    except MaxPayloadExceeded as e:
        raise ReplyTooLarge(f"the reply is larger than the NATS server takes: {e}") from e
    except NatsError as e:
        raise ReplyNotSent(str(e)) from e

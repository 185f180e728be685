"""What a message asks for: which functions are called, and how."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from natsconnector.model.call import FunctionCall, Malformed, Refused
from natsconnector.model.dead_letter import ONLY_FUNCTION
from natsconnector.model.headers import hops_of
from natsconnector.model.seams import IDelivery
from natsconnector.model.subjects import covers
from natsconnector.planning.annotations import Terms
from natsconnector.planning.calls import TopicMessage, publishers_call_id
from natsconnector.planning.catalogue import Catalogue
from natsconnector.planning.envelope import envelope_call, read_envelope
from natsconnector.planning.permissions import Permissions

NO_FUNCTION = 404
LOOP = 508

_MOST_HOPS = 8


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A call to be made, and how its function is called."""

    call: FunctionCall
    terms: Terms
    function: str
    """The function's full name, by which its calls in flight are counted."""


class Planner:
    """
    Turns messages into calls: a JSON envelope on an envelope subject, the raw payload on any other.

    :param envelope_subjects: where envelopes arrive.
    :param catalogue: the functions there are; None when only envelopes arrive and nothing is known of functions.
    :param terms: those of functions that no list names.
    :param queued: calls for topics are asynchronous unless the function says otherwise.
    """

    def __init__(
        self,
        permissions: Permissions,
        envelope_subjects: Sequence[str] = (">",),
        catalogue: Catalogue | None = None,
        *,
        terms: Terms | None = None,
        queued: bool = False,
    ) -> None:
        self._permissions = permissions
        self._plain_subjects = frozenset(subject for subject in envelope_subjects if not {"*", ">"} & {*subject})
        self._patterns = tuple(subject for subject in envelope_subjects if subject not in self._plain_subjects)
        self._catalogue = catalogue
        self._terms = terms or Terms()
        self._queued = queued

    def plan(self, delivery: IDelivery) -> list[PlannedCall] | None:
        """
        The calls that a message asks for; None as long as that is not known, since there is no list of functions yet.

        :raises Refused: it asks for none, or for one that is not allowed.
        """
        if delivery.header_error is not None:
            raise Malformed(f"the message's header block is malformed: {delivery.header_error}")
        if hops_of(delivery.headers) >= _MOST_HOPS:
            raise Refused(LOOP, f"the message goes round: {_MOST_HOPS} connectors' replies led to it")
        own_id = publishers_call_id(delivery.headers)
        if self.is_envelope(delivery.subject):
            return [self._envelope(delivery, own_id)]
        if self._catalogue is not None and not self._catalogue.is_known:
            return None
        return self._topic(delivery, own_id)

    def is_missing(self, function: str) -> bool:
        """Whether there is a list of functions, and a function of this full name is not in it."""
        return self._catalogue is not None and self._catalogue.is_known and not self._catalogue.has(function)

    def is_envelope(self, subject: str) -> bool:
        """Whether messages on a concrete subject are envelopes."""
        # By the concrete subject: with overlapping subscriptions in a queue group any of them may deliver the message.
        return subject in self._plain_subjects or any(covers(pattern, subject) for pattern in self._patterns)

    def _envelope(self, delivery: IDelivery, own_id: str | None) -> PlannedCall:
        name, params = read_envelope(delivery.payload)
        terms, full_name = self._terms, name
        if self._catalogue is not None:
            full_name = self._catalogue.full_name(name)
            terms = self._catalogue.terms(full_name)
        call = envelope_call(
            name,
            params,
            delivery.headers,
            call_id=own_id or self._call_id(delivery, name),
            queued=terms.asynchronous is True,
            timeout_s=terms.timeout_s,
        )
        self._permissions.check(call)
        return PlannedCall(call, terms, full_name)

    def _topic(self, delivery: IDelivery, own_id: str | None) -> list[PlannedCall]:
        subscribers = [] if self._catalogue is None else self._catalogue.subscribers(delivery.subject)
        for name, value in delivery.headers:
            if name == ONLY_FUNCTION:  # a dead letter that was put back: the other functions have had the message
                subscribers = [each for each in subscribers if each[0] == value]
        if not subscribers:
            raise Refused(NO_FUNCTION, f"no function is annotated with the topic {delivery.subject}")
        message = TopicMessage(delivery.subject, delivery.payload, delivery.headers)
        planned = []
        # One that this connector may not call is no reason to keep the message from the others.
        for function, terms in [each for each in subscribers if self._permissions.allows(each[0])] or subscribers:
            call = message.call(
                function,
                call_id=own_id or self._call_id(delivery, function),
                queued=self._queued if terms.asynchronous is None else terms.asynchronous,
                timeout_s=terms.timeout_s,
                content_type=terms.content_type,
            )
            self._permissions.check(call)
            planned.append(PlannedCall(call, terms, function))
        return planned

    def _call_id(self, delivery: IDelivery, function: str) -> str:
        # The same on every attempt and every replica, if anything makes that possible.
        return f"{delivery.identity}-{function}" if delivery.identity is not None else os.urandom(16).hex()

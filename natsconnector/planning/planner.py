"""What a message asks for: which functions are called, and how."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from natsconnector.model.call import FunctionCall, Malformed, Refused
from natsconnector.model.dead_letter import ONLY_FUNCTION
from natsconnector.model.seams import IDelivery
from natsconnector.model.subjects import covers
from natsconnector.planning.annotations import CallOptions
from natsconnector.planning.calls import envelope_call, publishers_call_id, topic_call
from natsconnector.planning.catalogue import Catalogue
from natsconnector.planning.permissions import Permissions

NO_FUNCTION = 404


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A call to be made, and how its function wants to be called."""

    call: FunctionCall
    options: CallOptions
    counted_as: str
    """The function's full name, by which its calls in flight are counted."""


class Planner:
    """
    Turns messages into calls: a JSON envelope on an envelope subject, the raw payload on any other.

    :param envelope_subjects: where envelopes arrive.
    :param catalogue: the functions there are; None when only envelopes arrive and nothing is known of functions.
    :param queued: calls for topics are asynchronous unless the function says otherwise.
    :param content_type: of calls for topics, unless function or message say otherwise.
    """

    def __init__(
        self,
        permissions: Permissions,
        envelope_subjects: Sequence[str] = (">",),
        catalogue: Catalogue | None = None,
        *,
        queued: bool = False,
        content_type: str | None = None,
        max_inflight_per_function: int | None = None,
    ) -> None:
        self._permissions = permissions
        self._envelope_subjects = tuple(envelope_subjects)
        self._catalogue = catalogue
        self._queued = queued
        self._content_type = content_type
        self._max_inflight = max_inflight_per_function

    def is_ready_for(self, delivery: IDelivery) -> bool:
        """Whether it is known what a message asks for; for a topic that takes a first list of functions."""
        return self._is_envelope(delivery) or self._catalogue is None or self._catalogue.is_known

    def plan(self, delivery: IDelivery) -> list[PlannedCall]:
        """
        The calls that a message asks for, at least one.

        :raises Refused: none is to be made; the reason says why.
        """
        if delivery.header_error is not None:
            raise Malformed(f"the message's header block is malformed: {delivery.header_error}")
        own_id = publishers_call_id(delivery.headers)
        planned = [self._envelope(delivery)] if self._is_envelope(delivery) else self._topic(delivery)
        return [self._completed(delivery, each, own_id) for each in planned]

    def _is_envelope(self, delivery: IDelivery) -> bool:
        # By the concrete subject: with overlapping subscriptions in a queue group any of them may deliver it.
        return any(covers(pattern, delivery.subject) for pattern in self._envelope_subjects)

    def _envelope(self, delivery: IDelivery) -> PlannedCall:
        call = envelope_call(delivery.payload, delivery.headers)
        if self._catalogue is None:
            return PlannedCall(call, CallOptions(), call.function)
        options = self._catalogue.options(call.function)
        full_name = self._catalogue.full_name(call.function)
        return PlannedCall(replace(call, queued=options.asynchronous is True), options, full_name)

    def _topic(self, delivery: IDelivery) -> list[PlannedCall]:
        subscribers = [] if self._catalogue is None else self._catalogue.subscribers(delivery.subject)
        for name, value in delivery.headers:
            if name == ONLY_FUNCTION:  # a dead letter that was put back: the others have had it
                subscribers = [each for each in subscribers if each[0] == value]
        if not subscribers:
            raise Refused(NO_FUNCTION, f"no function is annotated with the topic {delivery.subject}")
        # One that this connector may not call is no reason to keep the message from the others.
        allowed = [each for each in subscribers if self._permissions.allows(each[0])]
        return [
            PlannedCall(
                topic_call(
                    function,
                    delivery.subject,
                    delivery.payload,
                    delivery.headers,
                    content_type=options.content_type or self._content_type,
                    queued=self._queued if options.asynchronous is None else options.asynchronous,
                ),
                options,
                function,
            )
            for function, options in allowed or subscribers
        ]

    def _completed(self, delivery: IDelivery, planned: PlannedCall, own_id: str | None) -> PlannedCall:
        call, options = planned.call, planned.options
        self._permissions.check(call)
        if options.max_inflight is None and self._max_inflight is not None:
            options = replace(options, max_inflight=self._max_inflight)
        # The same on every attempt and every replica, if anything makes that possible.
        derived = delivery.identity and f"{delivery.identity}-{call.function}"
        identified = replace(call, call_id=own_id or derived or str(uuid.uuid4()), timeout_s=options.timeout_s)
        return PlannedCall(identified, options, planned.counted_as)

"""What a message asks for: which functions are called, and how."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from natsconnector.model.call import FunctionCall, Malformed, Refused
from natsconnector.model.dead_letter import ONLY_FUNCTION
from natsconnector.model.frozen import frozen
from natsconnector.model.headers import hops_of
from natsconnector.model.route import ROOT, Route
from natsconnector.model.seams import IDelivery
from natsconnector.model.subjects import capturing, covers
from natsconnector.planning.annotations import Terms
from natsconnector.planning.calls import RawMessage, asked_of_call, check_route, function_name
from natsconnector.planning.catalogue import Catalogue
from natsconnector.planning.envelope import envelope_call, read_envelope
from natsconnector.planning.permissions import Permissions
from natsconnector.planning.results import IResults, wants_result, with_result

NO_FUNCTION = 404
LOOP = 508

ENVELOPE, FUNCTION, TOPIC = "envelope", "function", "topic"
_MOST_HOPS = 8
_MOST_KNOWN = 1024
_LONGEST_KNOWN = 256


@frozen
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
    :param catalogue: the functions there are; None when there are no topics and nothing is known of functions.
    :param function_subjects: patterns of subjects that name a function by their first ``*``, and its namespace by the
        second, if they have two.
    :param terms: those of functions that no list names.
    :param queued: calls with the raw payload are asynchronous unless the function says otherwise.
    :param results: makes the URLs of callbacks whose results are to be published; None where none can be.
    """

    def __init__(
        self,
        permissions: Permissions,
        envelope_subjects: Sequence[str] = (">",),
        catalogue: Catalogue | None = None,
        *,
        function_subjects: Sequence[str] = (),
        terms: Terms | None = None,
        queued: bool = False,
        results: IResults | None = None,
    ) -> None:
        self._permissions = permissions
        self._envelope_subjects = tuple(envelope_subjects)
        self._function_subjects = tuple(capturing(subject) for subject in function_subjects)
        self._catalogue = catalogue
        self._terms = terms or Terms()
        self._queued = queued
        self._results = results
        # Subjects that were looked at before. Publishers choose subjects: only short ones are remembered, and not for
        # ever.
        self._ways: dict[str, str] = {}
        self._random = b""

    def plan(self, delivery: IDelivery) -> list[PlannedCall] | None:
        """
        The calls that a message asks for; None as long as that is not known, since there is no list of functions yet.

        :raises Refused: it asks for none, or for one that is not allowed.
        """
        if delivery.header_error is not None:
            raise Malformed(f"the message's header block is malformed: {delivery.header_error}")
        own_id, route, later = None, ROOT, False
        if headers := delivery.headers:
            if hops_of(headers) >= _MOST_HOPS:
                raise Refused(LOOP, f"the message goes round in a loop: {_MOST_HOPS} replies of connectors led to it")
            own_id, route = asked_of_call(headers)
            later = wants_result(headers)
        planned = self._planned(delivery, own_id, route)
        if planned is None:
            return None
        for position, each in enumerate(planned):
            if later or each.call.answers_later or each.call.callback_url is not None:
                call = with_result(each.call, delivery, self._results, has_own_id=own_id is not None)
                check_route(call)
                planned[position] = replace(each, call=call)
        return planned

    def _planned(self, delivery: IDelivery, own_id: str | None, route: Route) -> list[PlannedCall] | None:
        """The calls, without what brings their results back."""
        way = self.way(delivery.subject)
        if way == ENVELOPE:
            name, params = read_envelope(delivery.payload)
            return [self._named(name, delivery, own_id, route, params)]
        if way == FUNCTION:
            name = function_name(self._named_by(delivery.subject) or "")
            return [self._named(name, delivery, own_id, route, None)]
        if route is not ROOT:
            # Who deploys a function binds it to events; who publishes them names no function, and opens none of its
            # routes.
            raise Malformed("Function-Path and Function-Method are for messages that name a function, not for topics")
        if self._catalogue is not None and not self._catalogue.is_known:
            return None
        return self._topic(delivery, own_id)

    def is_missing(self, function: str) -> bool:
        """Whether there is a list of functions, and a function of this full name is not in it."""
        return self._catalogue is not None and self._catalogue.is_known and not self._catalogue.has(function)

    def way(self, subject: str) -> str:
        """By which way messages on a concrete subject ask for calls: ``envelope``, ``function`` or ``topic``."""
        # The concrete subject decides: with overlapping subscriptions in a queue group any of them may deliver the
        # message.
        known = self._ways.get(subject)
        if known is None:
            known = TOPIC
            if any(covers(pattern, subject) for pattern in self._envelope_subjects):
                known = ENVELOPE
            elif self._named_by(subject) is not None:
                known = FUNCTION
            if len(self._ways) >= _MOST_KNOWN:
                self._ways.clear()
            if len(subject) <= _LONGEST_KNOWN:
                self._ways[subject] = known
        return known

    def _named_by(self, subject: str) -> str | None:
        """The function that a subject names; None when it names none."""
        for pattern in self._function_subjects:
            if (found := pattern.fullmatch(subject)) is not None:
                return ".".join(found.groups())
        return None

    def _named(
        self, name: str, delivery: IDelivery, own_id: str | None, route: Route, params: Mapping[str, Any] | None
    ) -> PlannedCall:
        """The call of a function that a message names, by an envelope with these ``params`` or by its subject."""
        terms, full_name = self._terms, name
        if self._catalogue is not None:
            full_name = self._catalogue.full_name(name)
            terms = self._catalogue.terms(full_name)
        if params is None:
            message = RawMessage(delivery.subject, delivery.payload, delivery.headers)
            return self._raw(message, delivery, name, own_id, terms, full_name, route)
        call = envelope_call(
            name,
            params,
            delivery.headers,
            call_id=own_id or self._call_id(delivery, name),
            queued=terms.asynchronous is True,
            timeout_s=terms.timeout_s,
            route=route,
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
        message = RawMessage(delivery.subject, delivery.payload, delivery.headers)
        # A function that this connector may not call is no reason to keep the message from the others.
        return [
            self._raw(message, delivery, function, own_id, terms, function)
            for function, terms in [each for each in subscribers if self._permissions.allows(each[0])] or subscribers
        ]

    def _raw(
        self,
        message: RawMessage,
        delivery: IDelivery,
        function: str,
        own_id: str | None,
        terms: Terms,
        full_name: str,
        route: Route = ROOT,
    ) -> PlannedCall:
        call = message.call(
            function,
            call_id=own_id or self._call_id(delivery, function),
            queued=self._queued if terms.asynchronous is None else terms.asynchronous,
            timeout_s=terms.timeout_s,
            content_type=terms.content_type,
            route=route,
        )
        self._permissions.check(call)
        return PlannedCall(call, terms, full_name)

    def _call_id(self, delivery: IDelivery, function: str) -> str:
        # The same on every attempt and every replica, if anything makes that possible.
        if delivery.identity is not None:
            return f"{delivery.identity}-{function}"
        # One system call gives many.
        if not self._random:
            self._random = os.urandom(4096)
        taken, self._random = self._random[:16], self._random[16:]
        return taken.hex()

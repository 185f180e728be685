"""Calls whose results are to be published on NATS: their callbacks come to the connector itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from natsconnector.model.call import Forbidden, FunctionCall, Malformed
from natsconnector.model.headers import Header, hops_of
from natsconnector.model.seams import IDelivery
from natsconnector.planning.calls import TO_SUBJECT, shown

ASYNC = "Function-Async"
"""Of a message: ``true`` has the function called asynchronously, with its result on the reply subject."""
_ASYNC = ASYNC.lower()


class IResults(Protocol):
    """Makes callback URLs of our own."""

    def callback_url(
        self, subject: str, function: str, call_id: str, *, is_named: bool, has_own_id: bool, hops: int
    ) -> str:
        """
        The URL whose callback is published on a subject.

        :param is_named: whether the message names the subject; else it is the reply subject.
        :param has_own_id: whether the publisher chose the call id.
        :raises Refused: nothing may be published there.
        """


def wants_result(headers: Iterable[Header]) -> bool:
    """
    Whether a message's headers ask for a result on the reply subject.

    :raises Malformed: the header has another value than ``true`` and ``false``.
    """
    for name, value in headers:
        if name.lower() == _ASYNC:
            if value.lower() not in ("true", "false"):
                raise Malformed(f"the header {ASYNC} is neither true nor false: {shown(value)}")
            return value.lower() == "true"
    return False


def with_result(call: FunctionCall, delivery: IDelivery, results: IResults | None, *, has_own_id: bool) -> FunctionCall:
    """
    An asynchronous call, whose result goes where its callback URL says, or else to the reply subject.

    :param has_own_id: whether the publisher chose the call id.
    :raises Refused: the result cannot come back, or may not go where it was to go.
    """
    subject = delivery.reply_subject
    if named := call.callback_url is not None:
        if not call.callback_url.startswith(TO_SUBJECT):
            # The result has a place of its own, so the answer is that the call was accepted.
            return replace(call, answers_later=False)
        subject = call.callback_url.removeprefix(TO_SUBJECT)
    if subject is None:
        return replace(call, queued=True, answers_later=False)
    if results is None:
        raise Forbidden("the result cannot come back over NATS: the connector runs without --callback-listen")
    url = results.callback_url(
        subject,
        call.function,
        call.call_id,
        is_named=named,
        has_own_id=has_own_id,
        hops=hops_of(delivery.headers),
    )
    return replace(call, callback_url=url, queued=True, answers_later=subject == delivery.reply_subject)

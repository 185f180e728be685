"""Callback URLs for results that are to be published: made when a call is planned."""

from __future__ import annotations

import os
from collections.abc import Callable

from natsconnector.callbacks.keys import Keys
from natsconnector.callbacks.seal import NONCE_BYTES, Ticket, TooLong, seal
from natsconnector.messages.results import Results
from natsconnector.model.call import Forbidden, Malformed
from natsconnector.model.subjects import subject_fault


class Sealing:
    """
    Makes callback URLs.

    :param address: how the gateway's queue-worker reaches any of the connectors that have these keys.
    :param lifetime_s: how long a result may take.
    :param now_s: the time, in seconds since 1970.
    """

    def __init__(
        self, address: str, keys: Keys, results: Results, *, lifetime_s: float, now_s: Callable[[], float]
    ) -> None:
        self._address = address
        self._keys = keys
        self._results = results
        self._lifetime_s = lifetime_s
        self._now_s = now_s

    def callback_url(
        self, subject: str, function: str, call_id: str, *, is_named: bool, has_own_id: bool, hops: int
    ) -> str:
        """
        The URL to which the queue-worker is to post the result of a call.

        :param is_named: whether a publisher named the subject; else it is the reply subject.
        :param has_own_id: whether the publisher chose the call id.
        :raises Forbidden: no result may go to the subject.
        :raises Malformed: the URL would be too long.
        """
        if not self._results.may_go_to(subject, is_named=is_named):
            why = "--reply-allow does not name it, or " if is_named else ""
            raise Forbidden(f"no result may go to {subject[:300]}: {why}the connector listens there")
        if (fault := subject_fault(subject)) is not None:
            raise Malformed(f"the reply subject {fault}")
        expires_at_s = int(self._now_s() + self._lifetime_s)
        ticket = Ticket(subject, function, call_id, expires_at_s, is_named, has_own_id, hops)
        try:
            return f"{self._address}/{seal(ticket, self._keys.first, os.urandom(NONCE_BYTES))}"
        except TooLong as e:
            raise Malformed(str(e)) from None

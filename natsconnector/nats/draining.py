"""The gentle end of a client."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, TimeoutError

from natsconnector.nats.errors import ClientDraining, ConnectionLost, DrainTimeout
from natsconnector.nats.session import Session
from natsconnector.reactors import Reactor


class Draining:
    """
    Ends a client in steps: subscriptions, running work, requests, what was published, the connection.

    :param flush: fires when the server has taken everything; waits for a connection.
    :param close: ends the client; fires when the socket is closed.
    """

    def __init__(
        self,
        reactor: Reactor,
        session: Session,
        flush: Callable[[], Deferred[None]],
        close: Callable[[], Deferred[None]],
    ) -> None:
        self._reactor = reactor
        self._session = session
        self._flush = flush
        self._close = close
        #: Whether the drain has begun: there are no new subscriptions any more.
        self.begun = False

    def check_may_subscribe(self) -> None:
        """:raises ClientDraining: the subscriptions are being ended."""
        if self.begun:
            raise ClientDraining

    def run(self, timeout_s: float) -> Deferred[None]:
        """Begin; fires when the client is closed. To be called once."""
        self.begun = True
        return Deferred.fromCoroutine(self._run(timeout_s))

    async def _run(self, timeout_s: float) -> None:
        emptied = Deferred.fromCoroutine(self._empty()).addTimeout(timeout_s, self._reactor)
        try:
            await emptied
        except TimeoutError:
            raise DrainTimeout(timeout_s) from None
        finally:
            await self._close()

    async def _empty(self) -> None:
        session = self._session
        for drained in session.drain_subscriptions():
            await drained
        await session.requests.when_idle()
        if session.requests.subscription is not None:
            session.requests.subscription.unsubscribe()
        session.refusal = session.refusal or ClientDraining
        while True:
            try:
                return await self._flush()
            except ConnectionLost:
                continue  # what has not been sent yet waits for the next connection

"""Services that NATS's own tools find and watch: ``nats micro ls``, ``info``, ``stats`` and ``ping`` (ADR-32)."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from natsconnector.nats import micro_answers as answers
from natsconnector.nats.client import NatsClient
from natsconnector.nats.errors import ClientClosed, NatsError, ServerError
from natsconnector.nats.micro_answers import EndpointFacts, Identification
from natsconnector.nats.subscription import Subscription
from natsconnector.nats.wire.events import Msg

#: The headers of an answer that is an error.
ERROR, ERROR_CODE = "Nats-Service-Error", "Nats-Service-Error-Code"

# Whoever may publish on $SRV may ask at any rate: an answer is put together once a second at the most.
_FRESH_S = 1.0
_LONGEST_ERROR = 200

#: What an endpoint's callback gives: the answer, at once or later, or None where the callback has seen to it itself.
Answer = bytes | None | Deferred[Any] | Coroutine[Any, Any, Any]


class ServiceError(Exception):
    """
    Raised by an endpoint's callback: the answer is this error, in the headers of NATS services.

    :param code: a number as in HTTP.
    """

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{code}:{description}")
        self.code = code
        self.description = description


class Endpoint:
    """One subject of a service, and what became of the requests that came there. Made by ``add_endpoint``."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        client: NatsClient,
        facts: EndpointFacts,
        callback: Callable[[Msg], Answer],
    ) -> None:
        self._clock = clock
        self._client = client
        self._facts = facts
        self._callback = callback
        self._num_requests = 0
        self._num_errors = 0
        self._last_error = ""
        self._processing_s = 0.0
        self.subscription: Subscription | None = None
        """Where its requests come in, once the service is started."""

    @property
    def facts(self) -> EndpointFacts:
        """What it is, and its statistics as they are now."""
        fixed = self._facts
        return EndpointFacts(
            fixed.name,
            fixed.subject,
            fixed.queue_group,
            fixed.metadata,
            self._num_requests,
            self._num_errors,
            self._last_error,
            self._processing_s,
        )

    def listen(self) -> None:
        """Take requests."""
        if self.subscription is None:
            queue = self._facts.queue_group or None
            self.subscription = self._client.subscribe(self._facts.subject, self._asked, queue=queue)

    def _asked(self, msg: Msg) -> Deferred[None] | None:
        began_s = self._clock.seconds()
        try:
            answer = self._callback(msg)
        except Exception:
            self._failed(Failure(), msg, began_s)
            return None
        if isinstance(answer, Coroutine):
            answer = Deferred.fromCoroutine(answer)
        if not isinstance(answer, Deferred):
            self._answered(answer, msg, began_s)
            return None
        answer.addCallback(self._answered, msg, began_s)
        return answer.addErrback(self._failed, msg, began_s)

    def _answered(self, answer: Any, msg: Msg, began_s: float) -> None:
        try:
            if answer is not None and msg.reply is not None:
                self._client.publish(msg.reply, answer)
        except Exception:
            self._failed(Failure(), msg, began_s)
        else:
            self._ended(began_s)

    def _failed(self, failure: Failure, msg: Msg, began_s: float) -> None:
        error = failure.value
        if not isinstance(error, ServiceError):
            if not isinstance(error, NatsError):
                self._log.failure(
                    "an endpoint of a service has failed, on {subject}", failure, subject=msg.subject, event="defect"
                )
            # What it was is not the requester's business.
            error = ServiceError(500, str(error) if isinstance(error, NatsError) else "internal error")
        self._num_errors += 1
        self._last_error = str(error)[:_LONGEST_ERROR]
        self._ended(began_s)
        if msg.reply is not None:
            description = " ".join(error.description.split())[:_LONGEST_ERROR]
            with contextlib.suppress(NatsError):
                self._client.publish(msg.reply, headers={ERROR_CODE: str(error.code), ERROR: description})

    def _ended(self, began_s: float) -> None:
        self._num_requests += 1
        self._processing_s += self._clock.seconds() - began_s


class MicroService:
    """
    One instance of a service: answers on ``$SRV`` who it is, what its endpoints are and how they do, and serves them.

    All instances of a service have the same name, and an id each. Where the user may not subscribe to ``$SRV.>`` a line
    says so, nothing is asked for again until the next connection, and the endpoints work all the same.

    :param clock: the reactor.
    :param name: of letters, digits, ``-`` and ``_``.
    :param version: as semver.org has it, such as ``1.2.3``.
    :param metadata: what else to say of it in INFO.
    :param queue_group: of the endpoints, unless they say otherwise.
    :param id: unique among all instances; random unless given.
    :param others: endpoints whose messages somebody else takes; called for each answer that tells of endpoints.
    :param may_answer: tells whether an answer may go to a reply subject; anybody who asks has chosen that.
    :raises ValueError: name or version are not of that form.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        client: NatsClient,
        name: str,
        version: str,
        *,
        description: str = "",
        metadata: Mapping[str, str] | None = None,
        queue_group: str = "q",
        id: str | None = None,
        others: Callable[[], Iterable[EndpointFacts]] = tuple,
        may_answer: Callable[[str], bool] = lambda subject: not subject.startswith("$"),
    ) -> None:
        self._clock = clock
        self._client = client
        self._queue_group = queue_group
        self._others = others
        self._may_answer = may_answer
        self._identification = Identification(name, version, id or secrets.token_hex(11), description, metadata or {})
        answers.check_name(self.id)
        self._endpoints: list[Endpoint] = []
        self._subscriptions: list[Subscription] = []
        self._fresh: dict[str, tuple[float, bytes]] = {}
        self._started_s: float | None = None
        self._has_told = False

    @property
    def id(self) -> str:
        """Of this instance."""
        return self._identification.id

    @property
    def error(self) -> ServerError | None:
        """Why the server refuses what is asked for on ``$SRV``; None if it does not."""
        return next((each.error for each in self._subscriptions if each.error is not None), None)

    @property
    def endpoints(self) -> list[EndpointFacts]:
        """What the endpoints are, and their statistics as they are now."""
        return [*(each.facts for each in self._endpoints), *self._others()]

    def add_endpoint(
        self,
        name: str,
        callback: Callable[[Msg], Answer],
        *,
        subject: str | None = None,
        queue_group: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Endpoint:
        """
        Have ``callback(msg)`` called with each request of a subject.

        What it returns is the answer: bytes, a Deferred of them, or a coroutine; None when it has answered itself. A
        ``ServiceError`` that it raises is told to the requester, and anything else as an internal error.

        :param subject: the name, unless given.
        :param queue_group: an empty one is none: each instance gets each request.
        :raises ValueError: for the name.
        :raises BadSubject: subject or queue group cannot be put on the wire.
        """
        answers.check_name(name)
        group = self._queue_group if queue_group is None else queue_group
        facts = EndpointFacts(name, name if subject is None else subject, group, metadata or {})
        endpoint = Endpoint(self._clock, self._client, facts, callback)
        if self._started_s is not None:
            endpoint.listen()
        self._endpoints.append(endpoint)
        return endpoint

    def start(self) -> None:
        """Take requests, and answer on ``$SRV``. May be called again."""
        if self._started_s is not None:
            return
        self._started_s = self._clock.seconds()
        for endpoint in self._endpoints:
            endpoint.listen()
        for verb in answers.VERBS:
            # As they are written here, so that who asks for another name is told at once that nobody listens.
            every = f"$SRV.{verb}"
            named = f"{every}.{self._identification.name}"
            for subject in (every, named, f"{named}.{self.id}"):
                subscription = self._client.subscribe(subject, partial(self._asked, verb))
                subscription.is_asked_for_again = False
                subscription.watch(self._look)
                self._subscriptions.append(subscription)

    def stop(self) -> Deferred[None]:
        """Answer no more on ``$SRV``; fires when what is on its way to the endpoints is worked off."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for subscription in self._subscriptions:
            subscription.unsubscribe()
        drains = [each.subscription.drain() for each in self._endpoints if each.subscription is not None]
        for drained in drains:
            try:
                await drained
            except NatsError as e:
                self._log.warn("could not drain an endpoint: {reason}", reason=e, event="drain_failed")

    def _look(self, subscription: Subscription) -> None:
        if subscription.confirmed:
            self._has_told = False
        elif subscription.error is not None and not self._has_told:
            self._has_told = True
            self._log.info(
                "service {service} is not shown by `nats micro`: {reason}",
                service=self._identification.name, reason=subscription.error.message[:200], event="service_not_shown",
            )  # fmt: skip

    def _asked(self, verb: str, msg: Msg) -> None:
        if msg.reply is None or not self._may_answer(msg.reply):
            return
        # Who asks notices that no answer comes, which is all there is to do about it.
        with contextlib.suppress(NatsError, ClientClosed):
            self._client.publish(msg.reply, self._answer(verb))

    def _answer(self, verb: str) -> bytes:
        now_s = self._clock.seconds()
        made_s, payload = self._fresh.get(verb, (0.0, b""))
        if not payload or now_s - made_s >= _FRESH_S:
            service = self._identification
            if verb == "PING":
                response = answers.ping(service)
            elif verb == "INFO":
                response = answers.info(service, self.endpoints)
            else:
                response = answers.stats(service, self.endpoints, self._started_s or 0.0)
            payload = answers.encoded(response, self._client.max_payload)
            self._fresh[verb] = now_s, payload
        return payload

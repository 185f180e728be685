"""The functions there are, as of the last time the gateway could be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from natsconnector.model.function import DeployedFunction
from natsconnector.model.subjects import SubjectMap, overlaps, reserved_for_nats
from natsconnector.planning.annotations import Terms, terms_of, topics_of

Subscriber = tuple[str, Terms]


class Catalogue:
    """
    The deployed functions, with what their annotations say, refreshed again and again.

    A refresh that fails changes nothing: the last good list stays. It is said once, and once when it works again.

    :param list_functions: asks the gateway; whatever it fails with is a text for the log.
    :param interval_s: from one refresh to the next.
    :param delimiter: splits the annotation ``topic``.
    :param terms: how a function is called that says nothing about it.
    :param max_timeout_s: the longest time-out that an annotation may ask for.
    :param wanted_topics: subjects whose messages are taken for topics, whoever wants them.
    :param close: closes what ``list_functions`` keeps open.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        list_functions: Callable[[], Deferred[list[DeployedFunction]]],
        *,
        interval_s: float = 5.0,
        delimiter: str = ",",
        terms: Terms | None = None,
        max_timeout_s: float = 600.0,
        wanted_topics: Sequence[str] = (),
        close: Callable[[], Deferred[None]] = lambda: succeed(None),
    ) -> None:
        self._clock = clock
        self._list_functions = list_functions
        self._interval_s = interval_s
        self._delimiter = delimiter
        self._default_terms = terms or Terms()
        self._max_timeout_s = max_timeout_s
        self._wanted_topics = wanted_topics
        self._close = close
        self._functions: list[DeployedFunction] = []
        self._subscribers: SubjectMap[Subscriber] = SubjectMap()
        self._terms: dict[str, Terms] = {}
        self._full_names: dict[str, str | None] = {}
        self._faults: frozenset[str] = frozenset()
        self._fault: str | None = None
        self._refreshing: Deferred[None] | None = None
        self._clashes: set[str] = set()
        self._watchers: list[Callable[[], object]] = []
        self.is_known = False
        """Whether there was a list yet."""
        self.topics: tuple[str, ...] = ()
        """All topics that functions are annotated with, in order of appearance."""
        self.known_at: float | None = None
        """When the gateway last gave the list, in seconds of the clock; None: never yet."""
        self.before_at: float | None = None
        """When the gateway was asked for the list before this one, in seconds of the clock; None: this is the first."""
        self._asked_at: float | None = None
        self.failures = 0
        """How often it did not."""
        self.unwanted_topics = 0
        """How many of the topics that messages are taken of no function is annotated with."""

    def start(self) -> None:
        """Begin to refresh, at once and for ever."""
        self._refreshing = Deferred.fromCoroutine(self._refresh_for_ever())
        self._refreshing.addErrback(lambda f: f.trap(CancelledError) and None)
        self._refreshing.addErrback(
            lambda f: self._log.failure("a defect while reading the list of functions", f, event="defect")
        )

    def stop(self) -> Deferred[None]:
        """Refresh no more; fires when what was open is closed."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        return self._close()

    def watch(self, callback: Callable[[], object]) -> None:
        """Have ``callback`` called whenever the list is another one, and when the first is there."""
        self._watchers.append(callback)

    def subscribers(self, subject: str) -> list[Subscriber]:
        """The functions that want the messages of a concrete subject, each once, and how they want to be called."""
        return self._subscribers.match(subject)

    def full_name(self, function: str) -> str:
        """
        The name with the namespace of a function that is named without it, if there is just one of that name;
        otherwise the name as it is.
        """
        return self._full_names.get(function) or function

    @property
    def functions(self) -> int:
        """How many there are."""
        return len(self._functions)

    @property
    def annotation_faults(self) -> int:
        """How many annotations cannot be read, or ask for more than they may."""
        return len(self._faults)

    def has(self, full_name: str) -> bool:
        """Whether there is such a function."""
        return full_name in self._terms

    def terms(self, full_name: str) -> Terms:
        """How a function is called; as by default if it is not known."""
        return self._terms.get(full_name, self._default_terms)

    def topics_besides(self, others: Iterable[str], never: Sequence[str]) -> list[str]:
        """``others`` and all topics of functions, but none that overlaps with one of ``never``; that is said once."""
        wanted = dict.fromkeys(others)
        for topic in self.topics:
            clash = clash_of(topic, never)
            if clash is None:
                wanted[topic] = None
            elif topic not in self._clashes:
                self._clashes.add(topic)
                self._log.warn(
                    "the connector does not subscribe to topic {subject}, which overlaps with {overlaps}",
                    subject=topic, overlaps=clash, event="topic_not_taken",
                )  # fmt: skip
        return list(wanted)

    async def _refresh_for_ever(self) -> None:
        while True:
            asked_at = self._clock.seconds()
            try:
                functions = await self._list_functions()
            except CancelledError:
                raise
            except Exception as e:
                self._failed(str(e) or type(e).__name__)
            else:
                self.before_at, self._asked_at = self._asked_at, asked_at
                self._learn(functions)
            await deferLater(self._clock, self._interval_s)

    def _failed(self, reason: str) -> None:
        self.failures += 1
        if self._fault is None:
            kept = "the last list is kept" if self.is_known else "messages for topics wait for a first list"
            self._log.warn(
                "cannot list the functions, " + kept + ": {reason}", reason=reason, event="functions_not_listed"
            )
        self._fault = reason

    def _learn(self, functions: list[DeployedFunction]) -> None:
        self.known_at = self._clock.seconds()
        if self._fault is not None:
            self._fault = None
            self._log.info("the functions can be listed again", event="functions_listed_again")
        if self.is_known and functions == self._functions:
            return
        self._functions = functions
        subscribers: SubjectMap[Subscriber] = SubjectMap()
        all_terms: dict[str, Terms] = {}
        full_names: dict[str, str | None] = {}
        topics: dict[str, None] = {}
        faults: list[str] = []
        for function in functions:
            terms, misread = terms_of(function, self._default_terms, self._max_timeout_s)
            wanted, no_topics = topics_of(function, self._delimiter)
            faults += misread + no_topics
            all_terms[function.full_name] = terms
            full_names[function.name] = None if function.name in full_names else function.full_name
            for topic in wanted:
                subscribers.add(topic, (function.full_name, terms))
                topics[topic] = None
        for fault in faults:
            if fault not in self._faults:
                self._log.warn("{reason}", reason=fault, event="annotation_fault")
        self._subscribers, self._terms, self._full_names = subscribers, all_terms, full_names
        self.topics, self._faults = tuple(topics), frozenset(faults)
        self.unwanted_topics = sum(
            not any(overlaps(wanted, topic) for topic in self.topics) for wanted in self._wanted_topics
        )
        self.is_known = True
        self._log.info(
            "functions: {count}, topics: " + ("{topics}" if topics else "none"),
            count=len(functions), topics=", ".join(topics) or None, event="functions_changed",
        )  # fmt: skip
        for callback in list(self._watchers):
            try:
                callback()
            except Exception:  # the next refresh has to come all the same
                self._log.failure("a defect while taking over a new list of functions", event="defect")


def clash_of(topic: str, never: Sequence[str]) -> str | None:
    """Which of the subjects that are not for topics, NATS's own among them, a topic overlaps with; None: with none."""
    return reserved_for_nats(topic) or next((subject for subject in never if overlaps(topic, subject)), None)

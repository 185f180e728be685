"""The connector as a NATS service: what ``nats micro ls``, ``info``, ``stats`` and ``ping`` show of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from heapq import nlargest
from itertools import islice

from twisted.internet.interfaces import IReactorTime

from natsconnector import __version__
from natsconnector.config.settings import Settings
from natsconnector.journal.calls import Calls
from natsconnector.journal.journal import Journal
from natsconnector.messages.replies import Replies
from natsconnector.model.seams import ISource
from natsconnector.nats import EndpointFacts, MicroService, NatsClient

# Annotations may ask for any number of topics, and functions be called by any number of names.
_MOST_ENDPOINTS = 100
_MOST_FUNCTIONS = 50
_LONGEST_METADATA = 500
_LONGEST_NAME = 100
_WILDCARDS = {"*": "any", ">": "all"}


def make_micro(
    clock: IReactorTime,
    client: NatsClient,
    sources: Sequence[ISource],
    journal: Journal,
    replies: Replies,
    settings: Settings,
) -> MicroService | None:
    """The connector's service; None where it is not wanted."""
    if settings.no_service:
        return None

    def listen() -> None:
        journal.endpoints.listen_on(subject for source in sources for subject, _ in source.endpoints)

    listen()
    for source in sources:
        source.watch(listen)
    metadata = {
        "gateway": settings.gateway,
        "mode": "core" if settings.stream is None else "stream",
        "functions": ", ".join(settings.allow_function or ("any",)),
    }
    if settings.stream is not None:
        metadata |= {"stream": settings.stream, "consumer": settings.consumer}
    return MicroService(
        clock,
        client,
        "natsconnector",
        __version__,
        description="calls OpenFaaS functions for NATS messages",
        metadata={name: value[:_LONGEST_METADATA] for name, value in metadata.items()},
        others=lambda: _endpoints(sources, journal),
        may_answer=lambda subject: replies.reply_subject(subject) is not None,
    )


def _endpoints(sources: Sequence[ISource], journal: Journal) -> Iterator[EndpointFacts]:
    names: set[str] = set()
    # What is counted by function is counted for all subjects together.
    data: object = {"functions_of_all_endpoints": _functions(journal.calls)}
    for subject, group in islice((each for source in sources for each in source.endpoints), _MOST_ENDPOINTS):
        calls = journal.endpoints.of(subject)
        yield EndpointFacts(
            _name(subject, names),
            subject,
            group,
            num_requests=calls.requests,
            num_errors=calls.errors,
            last_error=calls.last_error,
            processing_s=calls.elapsed_s,
            data=data,
        )
        data = None


def _functions(calls: Calls) -> dict[str, dict[str, object]]:
    """The functions that were called most."""

    found: dict[str, dict[str, object]] = {}
    for name, function in nlargest(_MOST_FUNCTIONS, calls.by_function(), key=lambda each: each[1].number):
        found[name] = {
            "num_requests": function.number,
            "num_errors": function.failures,
            "last_error": "" if function.last_failure is None else function.last_failure[1],
        }
        if calls.has_details(function):
            found[name]["processing_time"] = round(function.durations.sum * 1e9)
    return found


def _name(subject: str, taken: set[str]) -> str:
    """A name for the endpoint of a subject, which has other characters than a subject."""
    words = (_WILDCARDS.get(token) or re.sub(r"[^A-Za-z0-9_-]", "_", token) for token in subject.split("."))
    short = "-".join(words)[:_LONGEST_NAME]
    name, number = short, 1
    while name in taken:
        number += 1
        name = f"{short}-{number}"
    taken.add(name)
    return name

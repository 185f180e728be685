"""Which topics of functions get a consumer of their own. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from natsconnector.messages.facts import StreamFacts
from natsconnector.model.subjects import SubjectMap, covers, overlaps

MOST_TOPICS = 500
_LONGEST_SLUG = 40


def consumer_name(consumer: str, topic: str) -> str:
    """The name of a topic's consumer: the same for all connectors, and readable."""
    slug = re.sub(r"[^A-Za-z0-9]+", "_", topic).strip("_")[:_LONGEST_SLUG]
    return f"{consumer}-{slug or 'all'}-{hashlib.sha256(topic.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What is taken from a stream."""

    topics: tuple[str, ...]
    """Those that get a consumer each; no two of them overlap."""
    left_out: dict[str, str]
    """Topics whose messages do not come, and why, in words that follow."""


def choose(topics: Iterable[str], stream: StreamFacts, fixed: Sequence[str] = ()) -> Choice:
    """
    What to take, so that each message comes once. The same topics give the same choice, in whatever order they are.

    :param fixed: subjects that are taken anyhow, by another consumer.
    """
    left_out: dict[str, str] = {}
    wide: list[str] = []
    plain: list[str] = []
    for topic in sorted(set(topics)):
        if not stream.holds(topic):
            left_out[topic] = f"the stream does not listen there, but on {', '.join(stream.held[:10])}"
        else:
            (wide if _has_wildcards(topic) else plain).append(topic)
    for topic in wide[MOST_TOPICS:]:
        left_out[topic] = _too_many()
    wide = wide[:MOST_TOPICS]
    # One that covers another comes before that.
    covered = {topic: sum(covers(other, topic) for other in wide) for topic in wide}
    taken: list[str] = []
    for topic in sorted(wide, key=lambda topic: (covered[topic], topic)):
        if any(covers(other, topic) for other in (*fixed, *taken)):
            continue
        clash = next((other for other in (*fixed, *taken) if overlaps(other, topic)), None)
        if clash is None:
            taken.append(topic)
        else:
            left_out[topic] = f"it overlaps with {clash}, so that messages would come twice"
    come_already: SubjectMap[str] = SubjectMap()
    for subject in (*fixed, *taken):
        come_already.add(subject, subject)
    for topic in plain:
        if come_already.match(topic):
            continue
        if len(taken) < MOST_TOPICS:
            taken.append(topic)
        else:
            left_out[topic] = _too_many()
    return Choice(tuple(taken), left_out)


def overlapping(topic: str, others: Iterable[str]) -> list[str]:
    """Those of other topics that some message would match besides ``topic``."""
    is_wide = _has_wildcards(topic)
    return [other for other in others if (is_wide or _has_wildcards(other)) and overlaps(topic, other)]


def _has_wildcards(topic: str) -> bool:
    return "*" in topic or ">" in topic


def _too_many() -> str:
    return f"there are more than {MOST_TOPICS}, name them with --topics"

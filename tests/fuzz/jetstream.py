"""What a JetStream API answers."""

from __future__ import annotations

import base64
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from natsconnector.messages.consumer import Opened, Wanted, consumer_cautions, open_consumer, stream_cautions
from natsconnector.messages.facts import NotUsable
from natsconnector.nats import NatsError
from natsconnector.nats.jetstream import StoredMessage
from tests.fuzz.mutate import json_bytes, mutated_json
from tests.fuzz.target import Plain, holds, no_failures_logged
from tests.nats.jetstream.support import JetStreamPeer, ScriptedApi, error

ANSWERS: dict[str, list[Any]] = {
    "CONSUMER.INFO.S.C": [
        {
            "type": "io.nats.jetstream.api.v1.consumer_info_response",
            "config": {
                "durable_name": "C",
                "ack_policy": "explicit",
                "ack_wait": 30_000_000_000,
                "filter_subject": "function.call",
                "backoff": [1_000_000_000, 2_000_000_000],
                "max_deliver": 5,
                "max_ack_pending": 1000,
                "inactive_threshold": 60_000_000_000,
            },
            "ack_floor": {"stream_seq": 3, "consumer_seq": 3},
            "num_pending": 7,
            "num_ack_pending": 1,
            "num_redelivered": 0,
            "paused": False,
        },
        {"config": {"durable_name": "C", "ack_policy": "explicit", "filter_subjects": ["function.call", "a.*"]}},
        error(10014, description="consumer not found"),
    ],
    "CONSUMER.DURABLE.CREATE.S.C": [
        {"config": {"durable_name": "C", "ack_policy": "explicit", "filter_subject": "function.call"}},
        error(10100, 400),
    ],
    "CONSUMER.DELETE.S.C": [{"success": True}],
    "STREAM.INFO.S": [
        {
            "config": {
                "name": "S",
                "subjects": ["function.*"],
                "retention": "workqueue",
                "max_age": 3_600_000_000_000,
                "max_msgs": 10,
                "max_bytes": -1,
                "max_msgs_per_subject": -1,
                "discard": "old",
                "allow_msg_ttl": True,
                "subject_transform": {"src": "a.*", "dest": "b.{{wildcard(1)}}"},
                "sources": [{"name": "T"}],
            },
            "created": "2026-01-01T00:00:00Z",
            "state": {"messages": 9, "first_seq": 1, "last_seq": 9, "consumer_count": 1},
        },
        {"config": {"subjects": ["function.*"], "retention": "limits"}, "created": "2026-01-01T00:00:00Z"},
        error(10059, description="stream not found"),
    ],
    "STREAM.INFO.DEAD": [{"config": {"subjects": ["dead"], "retention": "interest"}, "state": {"consumer_count": 0}}],
    "STREAM.NAMES": [{"streams": ["DEAD"], "total": 1}, {"streams": None}],
    "STREAM.MSG.GET.S": [
        {
            "message": {
                "subject": "a",
                "seq": 4,
                "hdrs": base64.b64encode(b"NATS/1.0\r\nA: b\r\n\r\n").decode(),
                "data": "aGk=",
                "time": "2026-01-01T00:00:00Z",
            }
        },
        error(10037, description="no message found"),
    ],
    "INFO": [{"memory": 0, "streams": 1, "limits": {"max_streams": -1}, "domain": "d"}],
}
MOST_ASKED = 20


class ApiTarget(Plain):
    """Every answer ends in facts, or in an error that says what is wrong; nothing is asked for ever."""

    name = "jetstream"

    def make(self, rng: Random) -> dict[str, bytes]:
        # Few are bad at a time, so that what comes behind them is reached.
        bad = rng.sample(sorted(ANSWERS), rng.choice((1, 1, 2, len(ANSWERS))))
        given = {}
        for what, good in ANSWERS.items():
            answer = good[0] if what not in bad and rng.random() < 0.7 else rng.choice(good)
            given[what] = json_bytes(rng, mutated_json(rng, answer) if what in bad else answer)
        return {**given, "version": rng.choice((b"2.15.1", b"2.9.0", b"", b"x", b"v2.10.4-beta"))}

    def check(self, given: dict[str, bytes]) -> None:
        with no_failures_logged():
            api = ScriptedApi(JetStreamPeer(version=given["version"].decode()))
            api.answers = {what: answer for what, answer in given.items() if what != "version"}
            jetstream = api.server.js
            for wanted in (
                Wanted("S", "C", ("function.call",), dead_letter="dead"),
                Wanted("S", "C", ("function.call", "a.*"), update=True),
            ):
                for done in (None, ("2026-01-01T00:00:00Z", 3)):
                    opened = self._end(api, Deferred.fromCoroutine(open_consumer(jetstream, wanted, done=done)))
                    if isinstance(opened, Opened):
                        consumer = opened.consumer
                        told = stream_cautions(opened.stream, wanted.subjects)
                        if consumer is not None:
                            told += consumer_cautions(consumer, 100, wanted.ordered)
                        holds(all(isinstance(each, str) for each in told), "a caution that is no text")
                        holds(consumer is None or 0.001 <= consumer.ack_wait_s < 1e10, "an ack wait without bounds")
            message = self._end(api, jetstream.message("S", 1))
            holds(message is None or isinstance(message, StoredMessage), f"a message is {message!r}")
            self._end(api, jetstream.account())
            self._end(api, jetstream.publish("a", b"x"), b'{"stream": "S", "seq": 1}')
            self._end(api, jetstream.publish("a", b"x"), given["STREAM.MSG.GET.S"])

    def _end(self, api: ScriptedApi, asked: Deferred[Any], answer: bytes | None = None) -> Any:
        """The result, or None for an error of ours."""
        ends: list[Any] = []
        asked.addBoth(ends.append)
        before = len(api.asked)
        for each in api.serve():
            if answer is not None and each.reply is not None:
                api.server.answer(each, answer)
        holds(len(api.asked) - before <= MOST_ASKED, f"{len(api.asked) - before} requests")
        if not ends:
            api.server.clock.advance(6)
        holds(ends, "there is no end")
        if isinstance(ends[0], Failure):
            if ends[0].check(NotUsable, NatsError) is None:
                ends[0].raiseException()
            return None
        return ends[0]

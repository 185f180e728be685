"""What publishers, functions and those who deploy them write: envelopes, headers, annotations, responses."""

from __future__ import annotations

import math
import re
from random import Random
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from natsconnector.messages.core import CoreDelivery
from natsconnector.messages.replies import Replies
from natsconnector.model.call import FunctionCall, Refused
from natsconnector.model.function import DeployedFunction
from natsconnector.model.outcome import Outcome
from natsconnector.model.reply import reply_to
from natsconnector.model.seams import ReplyNotSent
from natsconnector.nats import Msg
from natsconnector.planning.annotations import ANNOTATIONS, Terms, terms_of, topics_of
from natsconnector.planning.catalogue import Catalogue
from natsconnector.planning.permissions import Permissions
from natsconnector.planning.planner import Planner
from natsconnector.testing import FakeDelivery
from tests.fuzz.mutate import TEXTS, json_bytes, mutated_json, mutated_text
from tests.fuzz.target import Plain, holds, no_failures_logged
from tests.nats.fakes import World

Header = tuple[str, str]
_PATH_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?", re.ASCII)
_NOT_IN_HEADERS = re.compile("[\0-\x08\x0a-\x1f\x7f\ud800-\udfff]")
HEADERS: list[Header] = [
    ("X-Call-Id", "id-1"),
    ("Content-Type", "text/csv"),
    ("traceparent", "00-1-2-01"),
    ("X-Callback-Url", "http://ok.test/"),
    ("X-Reply-Subject", "a.b"),
    ("Connection", "close, x-a"),
    ("Proxy", "http://p:1"),
    ("Transfer_Encoding", "chunked"),
    ("Natsconnector-Function", "figlet"),
    ("Retry-After", "3"),
    ("Status", "503"),
    ("Set-Cookie", "a=b"),
]
FUNCTIONS = [
    DeployedFunction("figlet", "", {"topic": "banner"}),
    DeployedFunction("cat", "team", {"topic": "banner,orders.*", "natsconnector.async": "yes"}),
]


def mutated_headers(rng: Random) -> list[Header]:
    """Some headers of a message or a response, most of them good."""
    headers = rng.sample(HEADERS, rng.randint(0, 5))
    return [
        (mutated_text(rng, name) if rng.random() < 0.2 else name, mutated_text(rng, value)) for name, value in headers
    ]


def check_call(call: FunctionCall) -> None:
    """
    What a call may be, so that it can be made as one HTTP request to its function.

    :raises Fault: it is something else.
    """
    holds(_PATH_PART.fullmatch(call.function) and ".." not in call.function, f"the function is {call.function!r}")
    for name, value in call.headers:
        holds(re.fullmatch(r"[!#$%&'*+.^`|~0-9A-Za-z-]+", name), f"a header is named {name!r}")
        holds(name.lower() not in ("host", "proxy", "content-length", "transfer-encoding"), f"it has {name}")
        holds(not _NOT_IN_HEADERS.search(value), f"the header {name} is {value!r}")
    for value in (call.call_id, call.content_type or "", call.callback_url or ""):
        holds(not _NOT_IN_HEADERS.search(value), f"a field of the call is {value!r}")
    url = call.callback_url
    holds(url is None or url.lower().startswith(("http://", "https://")), f"the callback is {url!r}")
    holds(call.timeout_s is None or 0 < call.timeout_s < math.inf, f"the time-out is {call.timeout_s}")


class EnvelopeTarget(Plain):
    """A message is planned or refused, on an envelope subject and on a topic."""

    name = "envelopes"
    ENVELOPES: list[Any] = [
        {"function": "figlet", "params": {"body": "Hello World"}},
        {
            "function": "cat.team",
            "params": {"body": {"a": [1, 2.5, None, True]}, "callback_url": "http://ok.test:8/x?y"},
        },
        {"function": "f", "params": {"body_base64": "aGk=", "content_type": "image/png", "headers": {"X-A": "b"}}},
        {"function": "f-1_2.n", "params": {"body": [], "callback_url": "https://user:pw@[::1]:80/"}},
        {"function": "f"},
    ]

    def make(self, rng: Random) -> dict[str, Any]:
        return {
            "payload": json_bytes(rng, mutated_json(rng, rng.choice(self.ENVELOPES))),
            "subject": rng.choice(("function.call", "function.call", "banner", "orders.new", "none")),
            "headers": mutated_headers(rng),
            "header_error": rng.choice((*[None] * 9, "line 1")),
            "identity": rng.choice((None, "S-1")),
        }

    def check(self, given: dict[str, Any]) -> None:
        catalogue = Catalogue(Clock(), lambda: succeed(FUNCTIONS))
        catalogue.start()
        permissions = Permissions(["fig*", "cat.*", "f", "f-*.n"], ["ok.test", "*.example.com", "[::1]:*"])
        for rights in (permissions, Permissions()):
            planner = Planner(rights, ["function.*"], catalogue)
            try:
                planned = planner.plan(FakeDelivery(**given))
            except Refused as refused:
                holds(400 <= refused.code < 500 and refused.reason, f"refused with {refused.code}")
                holds(len(refused.reason) < 2000, f"the reason has {len(refused.reason)} characters")
                continue
            holds(planned, "neither planned nor refused")
            for each in planned or ():
                check_call(each.call)
        catalogue.stop()


class AnnotationTarget(Plain):
    """What annotations say is understood, or ignored with a sentence; the list of functions is taken in any case."""

    name = "annotations"
    GOOD: dict[str, list[str]] = {
        "topic": ["banner", "a.b, c.*", "orders.>", "a,b,,c"],
        "natsconnector.timeout": ["9s", "1m30s", "1.5h", "250ms"],
        "natsconnector.async": ["yes", "false", "1"],
        "natsconnector.max-inflight": ["3"],
        "natsconnector.content-type": ["text/plain; charset=utf-8"],
        "com.openfaas.retry.attempts": ["3"],
        "com.openfaas.retry.codes": ["429,503", "500"],
        "com.openfaas.retry.min_wait": ["100ms"],
        "com.openfaas.retry.max_wait": ["1m"],
    }

    def make(self, rng: Random) -> list[tuple[str, str, dict[str, str]]]:
        def annotations() -> dict[str, str]:
            names = rng.sample(ANNOTATIONS, rng.randint(1, 4))
            return {name: mutated_text(rng, rng.choice(self.GOOD.get(name, TEXTS))) for name in names}

        return [(rng.choice("abc"), rng.choice(("", "n", "m")), annotations()) for _ in range(rng.randint(1, 4))]

    def check(self, given: list[tuple[str, str, dict[str, str]]]) -> None:
        functions = [DeployedFunction(*each) for each in given]
        for function in functions:
            terms, faults = terms_of(function, Terms(), 600.0)
            topics, more_faults = topics_of(function, ",")
            holds(all("\n" not in fault for fault in (*faults, *more_faults)), "a fault of more than one line")
            holds(terms.timeout_s is None or 0 <= terms.timeout_s < math.inf, f"the time-out is {terms.timeout_s}")
            holds(0 <= terms.retries.wait_s < math.inf, f"the wait is {terms.retries.wait_s}")
            holds(terms.retries.attempts >= 1, f"the attempts are {terms.retries.attempts}")
            delay_s = terms.retries.delay_s(Outcome(503), 1, lambda: 0.5)
            holds(delay_s is None or 0 <= delay_s < math.inf, f"the delay is {delay_s}")
            for topic in topics:
                holds(not re.search(r"\s|\.\.|^\.|\.$|^$", topic), f"a topic is {topic!r}")
        with no_failures_logged():
            catalogue = Catalogue(Clock(), lambda: succeed(functions))
            catalogue.start()
            holds(catalogue.is_known, "the list was not taken")
            catalogue.topics_besides(["function.call"], ["dead"])
            for subject in ("banner", "a.b", "orders.new", "c.x", "a"):
                names = [name for name, _ in catalogue.subscribers(subject)]
                holds(len(names) <= len(functions), f"{len(names)} subscribers")
            catalogue.stop()


class ReplyTarget(Plain):
    """Whatever a function answers goes back as one message that can be parsed, or not at all with an error of ours."""

    name = "replies"

    def make(self, rng: Random) -> Outcome:
        headers = [(name.encode("utf-8", "surrogatepass").decode("ascii", "replace"), value) for name, value in
                   mutated_headers(rng)]  # fmt: skip
        # As the gateway's client makes texts of bytes: what is no UTF-8 is surrogates.
        headers = [(name, value.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"))
                   for name, value in headers]  # fmt: skip
        failure = mutated_text(rng, "the connection broke") if rng.random() < 0.3 else None
        return Outcome(rng.choice((200, 202, 404, 500, 599)), b"x" * rng.randint(0, 9), tuple(headers), failure)

    def open(self) -> None:
        self.world = World()
        self.peer = self.world.connected()

    def check(self, given: Outcome) -> None:
        msg = Msg("function.call", 1, "_INBOX.a", b"{}")
        call = FunctionCall("f", call_id="id")
        try:
            CoreDelivery(Replies(self.world.client), msg, msg.reply).answer(reply_to(given, call))
        except ReplyNotSent:
            return
        self.world.clock.advance(0)
        heard = self.peer.heard()
        head, _, rest = heard.partition(b"\r\n")
        match = re.fullmatch(rb"HPUB _INBOX\.a (\d+) (\d+)", head)
        holds(match, f"published: {heard[:200]!r}")
        assert match is not None
        holds(len(rest) == int(match[2]) + 2, f"more than one message: {heard!r}")
        lines = rest[: int(match[1])].split(b"\r\n")
        holds(lines[0] == b"NATS/1.0" and all(b":" in line for line in lines[1:-2]), f"the block is {lines!r}")

"""The connector as a NATS service."""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector import __version__
from natsconnector.assembly.connector import make_connector
from natsconnector.config.reading import read
from natsconnector.connector import Connector
from natsconnector.model.call import FunctionCall
from natsconnector.model.ending import Ending
from natsconnector.model.function import DeployedFunction
from natsconnector.model.outcome import Outcome
from natsconnector.nats.micro_answers import encoded, stats
from natsconnector.testing import FakeDelivery


class ServiceTests(SynchronousTestCase):
    """What it says of itself."""

    def connector(self, **flags: str) -> Connector:
        return make_connector(
            cast(Any, MemoryReactorClock()), read({n.replace("_", "-"): v for n, v in flags.items()}, {})
        )

    def described(self, connector: Connector) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
        """Its metadata, and its endpoints by name."""
        service = connector._service
        assert service is not None
        own = service._identification
        self.assertEqual((own.name, own.version), ("natsconnector", __version__))
        return dict(own.metadata), {each.name: (each.subject, each.queue_group) for each in service.endpoints}

    def test_core(self) -> None:
        """Each subject with its queue group; names as they have to be, each once."""
        metadata, endpoints = self.described(
            self.connector(
                subject="function.call", function_subject="fn.*", topics="fn-any,a.>,ä", gateway="gw:8080"
            )
        )  # fmt: skip
        self.assertEqual(metadata, {"gateway": "http://gw:8080", "mode": "core", "functions": "any"})
        self.assertEqual(
            endpoints,
            {
                "function-call": ("function.call", "functions"),
                "fn-any": ("fn.*", "functions"),
                "fn-any-2": ("fn-any", "openfaas_nats_worker_group"),
                "a-all": ("a.>", "openfaas_nats_worker_group"),
                "_": ("ä", "openfaas_nats_worker_group"),
            },
        )

    def test_stream(self) -> None:
        """A stream deals its messages out by a consumer, not by a queue group."""
        metadata, endpoints = self.described(self.connector(stream="CALLS", allow_function="figlet,report-*"))
        self.assertEqual((metadata["mode"], metadata["functions"]), ("stream", "figlet, report-*"))
        self.assertEqual((metadata["stream"], metadata["consumer"]), ("CALLS", "natsconnector"))
        self.assertEqual(endpoints, {"function-call": ("function.call", "")})

    def test_off(self) -> None:
        """It can be turned off; then nothing is counted for it."""
        connector = self.connector(no_service="on")
        self.assertIsNone(connector._service)
        connector.journal.ended(Ending(FakeDelivery(), None, Outcome(400), 0, 0.1))
        self.assertEqual(connector.journal.endpoints._by_subject, {})

    def test_where_answers_go(self) -> None:
        """Nowhere that the connector itself listens, nor to the server: whoever asks chooses the reply subject."""
        service = self.connector(subject="function.call", function_subject="fn.*", dead_letter="dead")._service
        assert service is not None
        for subject, goes in (("_INBOX.x", True), ("else", True), ("fn.a", False), ("dead", False), ("$JS.API", False)):
            self.assertEqual(service._may_answer(subject), goes, subject)

    def test_annotations(self) -> None:
        """Topics of annotations are endpoints as they come and go."""
        connector = self.connector(topics_from_annotations="on", function_subject="fn.*")
        assert connector.catalogue is not None
        for source in connector.sources:
            source.start(lambda delivery: None)
        for topic in ("one", "two"):
            connector.catalogue._learn([DeployedFunction("figlet", "", {"topic": topic})])
            self.assertEqual(sorted(self.described(connector)[1]), ["fn-any", topic])
        connector.journal.ended(Ending(FakeDelivery(subject="two"), None, Outcome(200), 0, 0.1))
        assert connector._service is not None
        self.assertEqual([each.num_requests for each in connector._service.endpoints], [0, 1])

    def test_statistics(self) -> None:
        """By subject, and by function for all of them; the answer fits into a message."""
        connector = self.connector(function_subject="fn.*", metrics_functions="6")
        journal = connector.journal
        for number in range(80):
            name = f"f{number}.openfaas-fn"
            outcome = Outcome(200) if number else Outcome(500)
            for _ in range(number + 1):
                journal.calls.ended(name, outcome, 0.5, 1.0, queued=False)
        call = FunctionCall("f0", b"", call_id="1")
        journal.ended(Ending(FakeDelivery(subject="fn.f0"), call, Outcome(500), 1, 0.5, "f0.openfaas-fn"))
        service = connector._service
        assert service is not None
        (endpoint,) = service.endpoints
        self.assertEqual(
            (endpoint.num_requests, endpoint.num_errors, endpoint.last_error, endpoint.processing_s),
            (1, 1, "the answer was 500", 0.5),
        )
        functions: dict[str, Any] = json.loads(json.dumps(endpoint.data))["functions_of_all_endpoints"]
        self.assertEqual(functions["other"]["num_requests"], sum(range(7, 81)))
        self.assertEqual(
            functions["f0.openfaas-fn"],
            {"num_requests": 1, "num_errors": 1, "last_error": "the answer was 500", "processing_time": 500_000_000},
        )
        self.assertNotIn("processing_time", functions["f5.openfaas-fn"])

    def test_bounds(self) -> None:
        """A hundred endpoints, fifty functions, and long names in them are far below what a message may have."""
        connector = self.connector(topics=",".join(f"{'t' * 200}.{n}" for n in range(300)))
        for number in range(500):
            connector.journal.calls.ended(f"{'f' * 200}{number}", Outcome(500), 0.5, 1.0, queued=False)
        service = connector._service
        assert service is not None
        self.assertEqual(len(service.endpoints), 100)
        first = service.endpoints[0]
        self.assertEqual(len(first.data["functions_of_all_endpoints"]), 50)  # type: ignore[index]
        answer = stats(service._identification, service.endpoints, 0.0)
        payload = encoded(answer, 1 << 20)
        self.assertEqual(json.loads(payload), answer)
        self.assertLess(len(payload), 100_000)

"""How much is made for one message: each thing once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.dispatch import dispatcher as dispatching
from natsconnector.dispatch import job as jobs
from natsconnector.dispatch.dispatcher import Dispatcher
from natsconnector.dispatch.settlement import Settlement
from natsconnector.journal.journal import Journal
from natsconnector.model import reply as replies
from natsconnector.model.function import DeployedFunction
from natsconnector.model.limits import Limits
from natsconnector.model.outcome import Outcome
from natsconnector.model.retries import RetryPolicy
from natsconnector.planning import annotations as terms
from natsconnector.planning import calls, envelope, planner
from natsconnector.planning.catalogue import Catalogue
from natsconnector.planning.permissions import Permissions
from natsconnector.planning.planner import Planner
from natsconnector.testing import FakeDelivery, FakeGateway

FUNCTIONS = [DeployedFunction(name, "", {"topic": "t", "natsconnector.timeout": "5s"}) for name in ("a", "b", "c")]


class ObjectsTests(SynchronousTestCase):
    """A message on its way through the whole connector, between fakes of NATS and the gateway."""

    def setUp(self) -> None:
        clock = Clock()
        self.gateway = FakeGateway()
        journal = Journal(clock)
        catalogue = Catalogue(clock, lambda: succeed(FUNCTIONS))
        catalogue.start()
        self.addCleanup(catalogue.stop)
        self.dispatcher = Dispatcher(
            self.gateway,
            clock,
            journal,
            Planner(Permissions(), ["function.call"], catalogue),
            Settlement(clock, journal),
            limits=Limits(),
            retries=RetryPolicy(),
        )

    def made(self, *deliveries: FakeDelivery) -> Counter[str]:
        """What was made for these messages, by class."""
        made: Counter[str] = Counter()

        def counting(cls: Callable[..., Any]) -> Callable[..., Any]:
            def make(*args: Any, **more: Any) -> Any:
                made[cls.__name__] += 1
                return cls(*args, **more)

            return make

        for module, name in (
            (envelope, "FunctionCall"),
            (calls, "FunctionCall"),
            (planner, "PlannedCall"),
            (planner, "RawMessage"),
            (terms, "Terms"),
            (jobs, "Job"),
            (dispatching, "Ending"),
            (replies, "Reply"),
        ):
            self.patch(module, name, counting(getattr(module, name)))
        self.gateway.outcomes = [Outcome(200)] * 9
        for delivery in deliveries:
            self.dispatcher.dispatch(delivery)
            self.assertEqual(len(delivery.replies), 1)
        return made

    def test_envelope(self) -> None:
        """One of each."""
        made = self.made(FakeDelivery(b'{"function": "a", "params": {"body": "x"}}'))
        self.assertEqual(made, {"FunctionCall": 1, "PlannedCall": 1, "Job": 1, "Ending": 1, "Reply": 1})

    def test_topic_of_three_functions(self) -> None:
        """One of each for every call, and what they have in common once."""
        made = self.made(FakeDelivery(b"x", "t"))
        self.assertEqual(
            made, {"FunctionCall": 3, "PlannedCall": 3, "Job": 3, "Ending": 3, "Reply": 3, "RawMessage": 1}
        )

    def test_from_a_stream(self) -> None:
        """The same, and one acknowledgement."""
        delivery = FakeDelivery(b'{"function": "a"}', durable=True, identity="S-1")
        made = self.made(delivery)
        self.assertEqual(made, {"FunctionCall": 1, "PlannedCall": 1, "Job": 1, "Ending": 1, "Reply": 1})
        self.assertEqual(delivery.acknowledged, [("ack", None)])

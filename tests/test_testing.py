"""A whole connector in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.config.reading import ConfigurationError
from natsconnector.model.outcome import Outcome
from natsconnector.nats import Msg
from natsconnector.testing import FakeGateway, FakeNats, connector_for_tests


class ConnectorForTestsTests(SynchronousTestCase):
    """Messages go in, calls come out, and answers go back."""

    def setUp(self) -> None:
        self.nats, self.gateway = FakeNats(), FakeGateway()

    def ask(self, subject: str, payload: bytes) -> Msg:
        asked = self.client.request(subject, payload)
        self.nats.settle()
        answer: Msg = self.successResultOf(asked)
        return answer

    def unlisted(self) -> str:
        """Why no connector is found."""
        asked = self.client.request("$SRV.PING")
        self.nats.settle()
        return str(self.failureResultOf(asked).value)

    def test_calls(self) -> None:
        """By an envelope and by a subject; what fails is tried again as the settings want it."""
        connector = connector_for_tests(
            self.nats, self.gateway, function_subject="fn.*", subject="function.call", retry_wait="1s",
            retry_backoff="exponential",
        )  # fmt: skip
        self.assertEqual(connector.not_ready, [])
        self.client = self.nats.client()
        self.gateway.outcomes += [Outcome(200, b"one"), Outcome(503), Outcome(200, b"two")]
        self.assertEqual(self.ask("function.call", b'{"function": "figlet"}').payload, b"one")
        asked = self.client.request("fn.figlet", b"Hello")
        self.nats.settle()
        self.assertNoResult(asked)
        self.nats.reactor.advance(1)
        self.nats.settle()
        self.assertEqual(self.successResultOf(asked).payload, b"two")
        self.assertEqual([call.body for call in self.gateway.calls], [b"", b"Hello", b"Hello"])
        self.assertIn(b'"num_requests":1', self.ask("$SRV.STATS.natsconnector", b"").payload)
        asked = self.client.request("fn.figlet", b"last")
        self.nats.settle()
        stopped = connector.stopService()
        self.nats.settle()
        self.assertNoResult(stopped)
        self.assertEqual(self.unlisted(), "nobody listens on '$SRV.PING'", "what stops is not to be found any more")
        self.gateway.end(Outcome(200))
        self.nats.settle()
        self.successResultOf(asked)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertTrue(self.gateway.closed)

    def test_settings(self) -> None:
        """Settings that are none are refused."""
        self.assertRaises(ConfigurationError, connector_for_tests, self.nats, self.gateway, max_inflight="many")

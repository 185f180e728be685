"""Tests of log lines."""

from __future__ import annotations

import io
import json

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.config.logs import observer, part_of


class ObserverTests(SynchronousTestCase):
    """What is written."""

    def logger(
        self, log_format: str, level: str = "info", namespace: str = "natsconnector.nats.dialer.Dialer"
    ) -> tuple[Logger, io.StringIO]:
        stream = io.StringIO()
        return Logger(namespace=namespace, observer=observer(stream, log_format, level)), stream

    def test_json(self) -> None:
        """One object a line, with the rendered text, and those fields that say something."""
        log, stream = self.logger("json")
        log.info("lost {server}", server="a:4222", reason=None, event="nats_lost")
        entry = json.loads(stream.getvalue())
        self.assertRegex(entry.pop("time"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(
            entry,
            {"level": "info", "logger": "nats", "event": "nats_lost", "message": "lost a:4222", "server": "a:4222"},
        )

    def test_json_of_others(self) -> None:
        """Lines of the framework have an event as well, and none of its fields."""
        log, stream = self.logger("json", namespace="twisted.internet.protocol.Factory")
        log.info("Starting factory {factory!r}", factory=object(), event=7)
        entry = json.loads(stream.getvalue())
        self.assertEqual(entry.keys(), {"time", "level", "logger", "event", "message"})
        self.assertEqual((entry["logger"], entry["event"]), ("twisted", "twisted"))

    def test_parts(self) -> None:
        """Modules have the short name of their part, whoever else logs the first part of its own."""
        names = {
            "natsconnector.nats.jetstream.consumer.PullConsumer": "nats",
            "natsconnector.journal.journal.Journal": "calls",
            "natsconnector.dispatch.intake.Intake": "calls",
            "natsconnector.planning.catalogue.Catalogue": "functions",
            "natsconnector.connector.Connector": "connector",
            "natsconnector.gateway.client.GatewayClient": "gateway",
            "natsconnector": "natsconnector",
            "log_legacy": "twisted",
            "twisted.web": "twisted",
            "-": "-",
        }
        self.assertEqual({name: part_of(name) for name in names}, names)

    def test_json_failure(self) -> None:
        """A failure has its traceback, in the same line."""
        log, stream = self.logger("json")
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            log.failure("a defect")
        entry = json.loads(stream.getvalue())
        self.assertEqual((entry["level"], entry["message"], entry["event"]), ("critical", "a defect", "twisted"))
        self.assertIn("ZeroDivisionError", entry["traceback"])

    def test_console(self) -> None:
        """Time, level, text; what a peer wrote cannot make a line of its own, braces are no placeholders."""
        log, stream = self.logger("console")
        log.warn("said {text}", text="a\n2026 info forged\r{b}")
        lines = stream.getvalue().splitlines()
        self.assertRegex(lines[0], r"Z warn  \[nats\] said a$")
        self.assertTrue(lines[1].startswith("    2026"))
        self.assertIn("{b}", lines[1])

    def test_console_shows_everything(self) -> None:
        """Nothing in a text acts on a terminal, ends a line in some other way, or cannot be written."""
        log, stream = self.logger("console")
        log.warn("on {subject}", subject="a\x1b[2J\x0b\x85\u2028\udcff\té")
        self.assertTrue(stream.getvalue().endswith(r"on a\x1b[2J\x0b\x85\u2028\udcff" + "\té\n"))

    def test_level(self) -> None:
        """What is less important than the level is left out."""
        log, stream = self.logger("console", "warn")
        log.info("x")
        self.assertEqual(stream.getvalue(), "")
        log.error("y")
        self.assertIn("error", stream.getvalue())

"""Tests of what a dead letter says."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.config.reading import ConfigurationError, read
from natsconnector.model.dead_letter import letter_headers, original_headers
from natsconnector.nats.wire.headers import encode_block


def headers(**more: Any) -> list[tuple[str, str]]:
    fields: dict[str, Any] = {
        "subject": "function.call", "function": "figlet", "status": 500, "reason": "figlet answered 500",
        "attempts": 3, "first_time_s": 1000.5, "last_time_s": 2000.0, "identity": "S-7",
    }  # fmt: skip
    return letter_headers(more.pop("original", ()), **{**fields, **more})


class LetterHeadersTests(SynchronousTestCase):
    """The headers of a dead letter."""

    def test_all(self) -> None:
        """The original's, in order, and why it is one."""
        self.assertEqual(
            headers(original=[("B", "1"), ("A", "2"), ("B", "3")]),
            [
                ("B", "1"),
                ("A", "2"),
                ("B", "3"),
                ("Dead-Letter-Subject", "function.call"),
                ("Dead-Letter-Function", "figlet"),
                ("Dead-Letter-Status", "500"),
                ("Dead-Letter-Reason", "figlet answered 500"),
                ("Dead-Letter-Attempts", "3"),
                ("Dead-Letter-First-Time", "1970-01-01T00:16:40.500Z"),
                ("Dead-Letter-Last-Time", "1970-01-01T00:33:20.000Z"),
                ("Nats-Msg-Id", "dead-S-7-1000500-figlet"),
            ],
        )

    def test_nothing_known(self) -> None:
        """Without a function and without a name."""
        names = [name for name, _ in headers(function=None, identity=None)]
        self.assertNotIn("Dead-Letter-Function", names)
        self.assertNotIn("Nats-Msg-Id", names)

    def test_message_id(self) -> None:
        """One for each message and function; a stream that was made anew has other messages under the same numbers."""
        ids = {
            dict(headers(**more))["Nats-Msg-Id"]
            for more in ({}, {"function": "cat"}, {"identity": "S-8"}, {"first_time_s": 1001.0}, {"function": None})
        }
        self.assertEqual(len(ids), 5)
        self.assertEqual(dict(headers())["Nats-Msg-Id"], dict(headers(last_time_s=9.0, reason="x"))["Nats-Msg-Id"])

    def test_reasons_that_are_no_header(self) -> None:
        """Whatever a reason holds, the letter can be published."""
        for reason in ("two\r\nlines\n", "half a \ud800 character", "byte \udcff", "x" * 100_000, ""):
            block = encode_block(headers(reason=reason))
            self.assertLess(len(block), 2000)
        self.assertIn(("Dead-Letter-Reason", "two lines"), headers(reason="two\r\nlines\n"))

    def test_subject_that_is_no_text(self) -> None:
        """A subject's odd bytes go along as they are."""
        self.assertIn(b"Dead-Letter-Subject: a.\xff\r\n", encode_block(headers(subject="a.\udcff")))


class OriginalHeadersTests(SynchronousTestCase):
    """What goes along wherever a message goes."""

    def test_publishers_own(self) -> None:
        """Not what the server acts on, nor what an earlier burial said, nor what a redrive did, in any spelling."""
        theirs = [("X-Call-Id", "1"), ("X-Reply-Subject", "r"), ("Nat", "x"), ("Dead", "y"), ("X-Nats-Msg-Id", "z")]
        ours = [
            ("Nats-Msg-Id", "1"), ("nats-expected-stream", "S"), ("Nats-TTL", "1s"), ("Dead-Letter-Subject", "forged"),
            ("dead-letter-reason", "forged"), ("Natsconnector-Function", "f"), ("natsconnector-function", "f"),
        ]  # fmt: skip
        self.assertEqual(original_headers([*ours, *theirs]), theirs)


class FlagTests(SynchronousTestCase):
    """Where they may go."""

    def test_subject(self) -> None:
        """A subject to publish on that is not one of ours."""
        self.assertEqual(read({"dead-letter": "dead.letters"}, {}).dead_letter, "dead.letters")
        for subject, says in [
            ("dead.*", "wildcards"),
            ("dead.>", "wildcards"),
            ("two words", "white space"),
            ("$JS.API.INFO", "NATS's own"),
            ("function.call", "its own dead letters"),
        ]:
            error = self.assertRaises(ConfigurationError, read, {"dead-letter": subject}, {})
            self.assertIn(says, str(error))

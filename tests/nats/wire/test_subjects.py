"""What may be a subject."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats.errors import BadSubject
from natsconnector.nats.wire import subjects
from natsconnector.nats.wire.subjects import check_inbox_prefix, encode_pattern, encode_queue, encode_subject

NEVER = ("", " ", "a b", "a\tb", "a\r\nPUB x 0", "a\n", "\x00", "a\x0bb", "\ud800")


class SubjectsTests(SynchronousTestCase):
    """Subjects, patterns, queue groups, inbox prefixes."""

    def test_refused_everywhere(self) -> None:
        """White space, NUL, nothing at all and what is no text are refused wherever they stand."""
        for check in (encode_subject, encode_pattern, encode_queue, check_inbox_prefix):
            for text in NEVER:
                self.assertRaises(BadSubject, check, text)
                self.assertRaises(ValueError, check, text)
            self.assertRaises(BadSubject, check, b"bytes")

    def test_publish(self) -> None:
        """A subject goes as UTF-8; what came in undecodable goes out as it came; wildcards are literal."""
        self.assertEqual(encode_subject("grüße.$JS"), "grüße.$JS".encode())
        self.assertEqual(encode_subject("a.\udcff"), b"a.\xff")
        self.assertEqual(encode_subject("a.*.>"), b"a.*.>")

    def test_length(self) -> None:
        """What no server takes is refused, counted in bytes, wherever it stands."""
        for check in (encode_subject, encode_pattern, encode_queue, check_inbox_prefix):
            check("ü" * 2048)
            for text in ("a" * 4097, "ü" * 2049, "a" * 1_000_000):
                self.assertRaises(BadSubject, check, text)

    def test_what_is_kept(self) -> None:
        """Publishers choose reply subjects: those that are kept for the next time are short and few."""
        for number in range(3 * subjects._MOST_KNOWN):
            encode_subject(f"reply.{number}")
            self.assertLessEqual(len(subjects.KNOWN_SUBJECTS), subjects._MOST_KNOWN)
        for length, kept in ((256, True), (257, False), (4000, False)):
            encode_subject("x" * length)
            self.assertEqual("x" * length in subjects.KNOWN_SUBJECTS, kept)

    def test_patterns(self) -> None:
        """Wildcards are whole tokens, and > is the last one."""
        for good in ("a", "a.b", "*", ">", "a.*.b", "a.>", "*.*.>"):
            self.assertEqual(encode_pattern(good), good.encode())
        for bad in (".", "a.", ".a", "a..b", "a*", "a.*b", ">.a", "a.>.>", "a.b>", "**", ">>"):
            self.assertRaises(BadSubject, encode_pattern, bad)

    def test_inbox_prefix(self) -> None:
        """An inbox prefix has no wildcards and no empty token."""
        self.assertEqual(check_inbox_prefix("_INBOX.me"), "_INBOX.me")
        for bad in ("a.*", ">", "a.", "a..b"):
            self.assertRaises(BadSubject, check_inbox_prefix, bad)

    def test_text(self) -> None:
        """The error names the subject, shortened, and says what is wrong."""
        error = self.assertRaises(BadSubject, encode_pattern, "a..b")
        self.assertEqual(str(error), "bad subject 'a..b': a token is empty")
        self.assertLess(len(str(self.assertRaises(BadSubject, encode_subject, " " * 10000))), 200)

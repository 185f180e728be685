"""Tests of ack subjects and of what is published there."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats.jetstream.acks import Position, nak, position, term, version

NUMBERS = "2.17.5.1795441315976354732.3"


class PositionTests(SynchronousTestCase):
    """What an ack subject tells."""

    def test_first_form(self) -> None:
        """Nine tokens, as all servers send by default."""
        self.assertEqual(
            position(f"$JS.ACK.S.C.{NUMBERS}"), Position("S", "C", 2, 17, 5, 1795441315976354732, 3, domain=None)
        )

    def test_second_form(self) -> None:
        """Eleven tokens with domain and account hash, and any number behind them; `_` is no domain."""
        for tail in ("", ".random", ".random.more"):
            self.assertEqual(
                position(f"$JS.ACK.hub.szMpdrwD.S.C.{NUMBERS}{tail}"),
                Position("S", "C", 2, 17, 5, 1795441315976354732, 3, domain="hub"),
            )
            found = position(f"$JS.ACK._.szMpdrwD.S.C.{NUMBERS}{tail}")
            self.assertIsNone(found.domain if found else "nothing found")

    def test_no_ack_subject(self) -> None:
        """Other numbers of tokens, other prefixes, and what is no number."""
        for reply in (
            None,
            "",
            "_INBOX.x.1",
            "$JS.ACK",
            "$JS.ACK.S.C.1.1.1.1",
            f"$JS.ACK.hub.S.C.{NUMBERS}",
            f"$JS.NAK.S.C.{NUMBERS}",
            "$JS.ACK.S.C.1.x.1.1.1",
            "$JS.ACK.S.C.1.-1.1.1.1",
            "$JS.ACK.S.C.1.1_0.1.1.1",
            "$JS.ACK.S.C.1.\u0661.1.1.1",
            "$JS.ACK.S.C.1." + "9" * 5000 + ".1.1.1",
            "$JS.ACK.S.C.1." + "9" * 21 + ".1.1.1",
        ):
            self.assertIsNone(position(reply), reply)

    def test_large_numbers(self) -> None:
        """A server counts up to 2 ** 64 - 1."""
        most = (1 << 64) - 1
        self.assertEqual(position(f"$JS.ACK.S.C.1.{most}.1.1.1"), Position("S", "C", 1, most, 1, 1, 1, domain=None))


class VerbTests(SynchronousTestCase):
    """What is published on an ack subject."""

    def test_nak(self) -> None:
        """A delay is told in nanoseconds; without one it is asked for at once."""
        self.assertEqual(nak(), b"-NAK")
        self.assertEqual(nak(-1), b"-NAK")
        self.assertEqual(nak(1.5), b'-NAK {"delay": 1500000000}')
        self.assertEqual(nak(0.001), b'-NAK {"delay": 1000000}')

    def test_term_reason(self) -> None:
        """A reason only for servers that know it: the others would ignore the whole and deliver again."""
        for known in ("2.10.4", "2.15.1", "3.0.0", "2.11.0-dev", "v2.10.10"):
            self.assertEqual(term("because\r\n bad", known), b"+TERM because bad", known)
        others: tuple[object, ...] = ("2.10.3", "2.9.25", "2.9", "", "no version", None, 5, [], {}, 2.15)
        for unknown in others:
            self.assertEqual(term("because bad", unknown), b"+TERM", unknown)

    def test_odd_reasons(self) -> None:
        """No reason, one that is no UTF-8, and one without an end."""
        self.assertEqual(term("", "2.15.1"), b"+TERM")
        self.assertEqual(term("\udcff", "2.15.1"), b"+TERM ?")
        self.assertLess(len(term("x" * 10_000, "2.15.1")), 600)

    def test_version(self) -> None:
        """Versions compare as numbers, not as texts."""
        self.assertGreater(version("2.10.0"), version("2.9.25"))
        self.assertEqual(version("2.11.0-preview.1"), (2, 11, 0))
        self.assertEqual(version("2.9"), (2, 9, 0))
        self.assertEqual((version("newest"), version(None)), ((0, 0, 0), (0, 0, 0)))

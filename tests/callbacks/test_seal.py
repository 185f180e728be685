"""Tests of sealing what a callback URL says."""

from __future__ import annotations

import base64
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.callbacks.seal import LONGEST, BadSeal, Key, Ticket, TooLong, seal, unseal
from tests.fuzz.mutate import mutated_text

KEY, OTHER = Key(b"k" * 32), Key(b"o" * 32)
NONCE = b"n" * 12
TICKET = Ticket("results.figlet", "figlet.openfaas-fn", "id-1", 2_000_000_000, True, False, 3, NONCE)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class SealTests(SynchronousTestCase):
    """What is sealed is opened by its key alone, and in one form alone."""

    def test_there_and_back(self) -> None:
        """What was sealed comes out, with the nonce."""
        for named, own, hops in ((True, True, 0), (False, True, 255), (True, False, 7), (False, False, 1)):
            ticket = Ticket("ü.b", "f", "i", 2**32 - 1, named, own, hops)
            opened = unseal(seal(ticket, KEY, NONCE), [OTHER, KEY])
            self.assertEqual(opened, Ticket("ü.b", "f", "i", 2**32 - 1, named, own, hops, NONCE))
        self.assertEqual(unseal(seal(Ticket("a", "f", "i", 1, hops=300), KEY, NONCE), [KEY]).hops, 255)

    @given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=200), st.binary(min_size=32))
    def test_any(self, text: str, secret: bytes) -> None:
        """Any texts, any secret; the seal has only letters, digits, - and _."""
        ticket = Ticket(text, text, text, 1, nonce=NONCE)
        sealed = seal(ticket, Key(secret), NONCE)
        self.assertEqual(unseal(sealed, [Key(secret)]), ticket)
        self.assertLessEqual(set(sealed), set(ALPHABET))

    def test_hidden(self) -> None:
        """A seal tells neither subject nor function nor call id, and says the same thing differently each time."""
        sealed = seal(TICKET, KEY, NONCE)
        raw = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
        for secret in (b"results", b"figlet", b"id-1"):
            self.assertNotIn(secret, raw)
        self.assertNotEqual(sealed[30:], seal(TICKET, KEY, b"m" * 12)[30:])
        self.assertNotIn("k" * 32, repr(KEY))

    def test_other_key(self) -> None:
        """A key opens what it has sealed, and nothing else; also one whose id happens to be the same."""
        sealed = seal(TICKET, KEY, NONCE)
        twin = Key(b"o" * 32)
        object.__setattr__(twin, "id", KEY.id)
        for keys in ([], [OTHER], [twin]):
            self.assertRaises(BadSeal, unseal, sealed, keys)
        self.assertEqual(unseal(sealed, [twin, KEY]), TICKET)

    def test_every_character_counts(self) -> None:
        """No character can be another one, none be left out or added, in whatever length of text."""
        for subject in ("a.b", "a.bc", "a.bcd"):
            sealed = seal(Ticket(subject, "f", "i", 2_000_000_000), KEY, NONCE)
            for at in range(len(sealed)):
                for other in (*ALPHABET, "=", "/", "%", "é", "\0", ""):
                    if other != sealed[at]:
                        self.assertRaises(BadSeal, unseal, sealed[:at] + other + sealed[at + 1 :], [KEY])
            for added in (*ALPHABET, "=", "==", "\n", "?a=b", "#a", " "):
                self.assertRaises(BadSeal, unseal, sealed + added, [KEY])
                self.assertRaises(BadSeal, unseal, added + sealed, [KEY])

    def test_mutations(self) -> None:
        """Thousands of mutations: none is accepted that is not the text itself."""
        rng = Random(14)
        texts = [seal(TICKET, KEY, NONCE), seal(Ticket("_INBOX.a", "f", "i", 5), KEY, b"m" * 12)]
        accepted = 0
        for _ in range(4000):
            mutated = mutated_text(rng, rng.choice(texts))
            try:
                unseal(mutated, [KEY, OTHER])
            except BadSeal:
                continue
            self.assertIn(mutated, texts)
            accepted += 1
        self.assertGreater(accepted, 100)  # some mutations change nothing: the good ones are opened

    def test_other_version(self) -> None:
        """A seal of another version is none, though all else is right."""
        head = b"\x02" + KEY.id
        data = head + NONCE + KEY.cipher.encrypt(b"\0" * 6 + b"f\0i\0s", [head, NONCE])
        self.assertRaises(BadSeal, unseal, base64.urlsafe_b64encode(data).rstrip(b"=").decode(), [KEY])

    def test_bounds(self) -> None:
        """What is long is refused, before it is decoded and before it is made."""
        self.assertRaises(BadSeal, unseal, "A" * (LONGEST + 1), [KEY])
        self.assertRaises(BadSeal, unseal, "A" * 10_000_000, [KEY])
        self.assertRaises(TooLong, seal, Ticket("a" * 1024, "f" * 200, "i" * 256, 1), KEY, NONCE)
        longest = seal(Ticket("a" * 1024, "f" * 100, "i" * 100, 1), KEY, NONCE)
        self.assertLessEqual(len(longest), LONGEST)
        unseal(longest, [KEY])

    def test_message_id(self) -> None:
        """The connector's own call ids name a result; a publisher's does not, since other calls may have it."""
        self.assertEqual(TICKET.message_id, "id-1")
        self.assertEqual(Ticket("s", "f", "id-1", 1, has_own_id=True, nonce=NONCE).message_id, NONCE.hex())

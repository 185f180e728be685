"""Callback URLs: what is sealed, changed."""

from __future__ import annotations

from random import Random

from natsconnector.callbacks.seal import LONGEST, BadSeal, Key, Ticket, TooLong, seal, unseal
from tests.fuzz.mutate import TEXTS, mutated_text
from tests.fuzz.target import Plain, holds

KEYS = [Key(b"one" * 11), Key(b"two" * 11)]
FOREIGN = Key(b"foreign" * 5)


class SealTarget(Plain):
    """A text that was not made here, with one of these keys, is refused, however much it is like one that was."""

    name = "callbacks"

    def make(self, rng: Random) -> tuple[list[str], str]:
        """Texts that were sealed with these keys, and what became of one of them."""
        texts = [mutated_text(rng, each).replace("\0", "") for each in ("results.figlet", "figlet", "id-1")]
        texts = [each.encode("utf-8", "replace").decode() for each in texts]
        ticket = Ticket(texts[0], texts[1], texts[2], rng.randrange(2**32), rng.random() < 0.5, rng.random() < 0.5)
        key = rng.choice([*KEYS, FOREIGN])
        try:
            sealed = seal(ticket, key, rng.randbytes(12))
        except TooLong:
            return [], rng.choice(TEXTS)
        other = seal(Ticket("a.b", "f", "i", 1), rng.choice(KEYS), rng.randbytes(12))
        changed = rng.choice((mutated_text(rng, sealed), _one_changed(rng, sealed), _joined(rng, sealed, other)))
        return [other] if key is FOREIGN else [other, sealed], changed

    def check(self, given: tuple[list[str], str]) -> None:
        good, changed = given
        try:
            ticket = unseal(changed, KEYS)
        except BadSeal as e:
            holds(changed not in good, f"what was sealed is refused: {e}")
            return
        holds(changed in good, f"accepted as {ticket}, though it was changed")
        holds(len(changed) <= LONGEST, "accepted, though it is too long")


def _one_changed(rng: Random, text: str) -> str:
    """Another character, or a neighbour of it, somewhere: most often bits of the last ones."""
    at = len(text) - 1 if rng.random() < 0.3 else rng.randrange(len(text))
    return text[:at] + rng.choice("AQgw-_=zZ09%") + text[at + 1 :]


def _joined(rng: Random, text: str, other: str) -> str:
    """Head and tail of two seals."""
    at = rng.choice((4, 6, 16, 22, 43, rng.randrange(len(text))))
    return text[:at] + other[at:]

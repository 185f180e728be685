"""Credentials, and the files they come from."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats.auth import Credentials, creds_file, nkey_file, password_file, token_file
from natsconnector.nats.errors import BadCredentials
from tests.nats import profile  # noqa: F401
from tests.nats.issuing import ACCOUNT, OPERATOR, NKey, Operator, creds_text

SEED = "SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU"
PUBLIC = "UCK5N7N66OBOINFXAYC2ACJQYFSOD4VYNU6APEJTAVFZB2SVHLKGEW7L"
NONCE = "PXoWU7zWAMt75FY"
SIGNATURE = "ZaAiVDgB5CeYoXoQ7cBCmq-ZllzUnGUoDVb8C7PilWvCs8XKfUchAUhz2P4BYAF--Dg3w05CqyQFRDiGL6LrDw"


class CredentialsTests(SynchronousTestCase):
    """What goes into CONNECT."""

    def test_nkey_vector(self) -> None:
        """The vector that is published for NKeys: public key and signature, base64 of URLs without padding."""
        self.assertEqual(Credentials(seed=SEED).connect_fields(NONCE), {"nkey": PUBLIC, "sig": SIGNATURE})

    def test_jwt(self) -> None:
        """A JWT goes with the signature, without the NKey; one that is a bearer's goes alone."""
        self.assertEqual(Credentials(jwt="a.b.c", seed=SEED).connect_fields(NONCE), {"jwt": "a.b.c", "sig": SIGNATURE})
        self.assertEqual(Credentials(jwt="a.b.c").connect_fields(None), {"jwt": "a.b.c"})

    def test_plain(self) -> None:
        """User and password, token, or a token beside them; what is not given is not sent, not even empty."""
        self.assertEqual(Credentials(user="u", password="p").connect_fields(None), {"user": "u", "pass": "p"})
        self.assertEqual(Credentials(user="u").connect_fields(None), {"user": "u", "pass": ""})
        self.assertEqual(Credentials(token="t").connect_fields(NONCE), {"auth_token": "t"})
        self.assertEqual(Credentials().connect_fields(NONCE), {})
        self.assertEqual(
            set(Credentials(token="t", jwt="a.b.c", seed=SEED).connect_fields(NONCE)), {"auth_token", "jwt", "sig"}
        )

    def test_no_nonce(self) -> None:
        """Without a nonce there is nothing to sign: the server knows no NKeys."""
        for nonce in (None, ""):
            error = self.assertRaises(BadCredentials, Credentials(seed=SEED).connect_fields, nonce)
            self.assertIn("no nonce", str(error))

    def test_own_keys(self) -> None:
        """What the tests issue is what the client reads."""
        key = NKey()
        fields = Credentials(seed=key.seed).connect_fields(NONCE)
        self.assertEqual(fields["nkey"], key.public)
        self.assertTrue(key.public.startswith("U") and key.seed.startswith("SU"))

    def test_no_secret_is_shown(self) -> None:
        """The repr is empty of everything."""
        shown = repr(Credentials("us3r", "s3cret", "t0ken", "j.w.t", SEED))
        for secret in ("us3r", "s3cret", "t0ken", "j.w.t", SEED):
            self.assertNotIn(secret, shown)

    def test_bad_seeds(self) -> None:
        """S26: a wrong checksum, a wrong kind, a public key, lower case: each is told apart, and not repeated."""
        wrong = SEED[:20] + ("A" if SEED[20] != "A" else "B") + SEED[21:]
        for seed, reason in (
            (wrong, "wrong checksum"),
            (SEED[:-1], "is not base32"),
            (SEED[:-2], "is no seed"),
            (SEED.lower(), "is not base32 in upper case"),
            (NKey(ACCOUNT).seed, "that of an account"),
            (NKey(OPERATOR).seed, "that of an operator"),
            (NKey().public, "is no seed"),
            ("", "is no seed"),
            ("A" * 100_000, "is no seed"),
            ("ß" * 58, "is not base32"),
        ):
            error = self.assertRaises(BadCredentials, Credentials, seed=seed)
            self.assertIn(reason, str(error))
            self.assertNotIn(seed or "?", str(error))

    @given(st.text())
    def test_any_seed(self, seed: str) -> None:
        """Any text as seed is one, or is refused."""
        try:
            Credentials(seed=seed)
        except BadCredentials:
            return
        self.assertEqual(len(seed), 58)

    def test_hint(self) -> None:
        """Only an expired JWT gives a hint; one that cannot be read is the server's business."""
        for jwt, expired in (
            (NKey(ACCOUNT).jwt({"exp": 86400}), True),
            (NKey(ACCOUNT).jwt({"exp": 1 << 35}), False),
            (NKey(ACCOUNT).jwt({}), False),
            (NKey(ACCOUNT).jwt({"exp": "soon"}), False),
            (NKey(ACCOUNT).jwt({"exp": True}), False),
            ("a.b.c", False),
            ("nothing", False),
            ("ü.ü.ü", False),
        ):
            self.assertEqual(Credentials(jwt=jwt).hint is not None, expired, jwt)
        expired_jwt = Credentials(jwt=NKey(ACCOUNT).jwt({"exp": 86400}))
        self.assertEqual(expired_jwt.hint, "the user's JWT expired at 1970-01-02T00:00:00Z")
        self.assertIsNone(Credentials(token="t").hint)


class FileTests(SynchronousTestCase):
    """Files, as people and tools write them."""

    def file(self, data: str | bytes) -> Path:
        """A file with this text."""
        path = Path(self.mktemp())
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def test_password(self) -> None:
        """The line's end does not belong to a password, white space does."""
        for text in (" p w ", " p w \n", " p w \r\n", "\ufeff p w \n"):
            self.assertEqual(password_file("me", self.file(text))(), Credentials(user="me", password=" p w "))

    def test_token(self) -> None:
        """White space around a token does not belong to it."""
        self.assertEqual(token_file(self.file(" \nt0ken\r\n"))(), Credentials(token="t0ken"))
        refused = self.assertRaises(BadCredentials, token_file(self.file("t0ken\nt1ken\n")))
        self.assertNotIn("ken\n", str(refused))
        self.assertIn("has several lines", str(refused))

    def test_nkey(self) -> None:
        """A seed alone, with a comment, with its public key below, or in a block."""
        for text in (
            SEED,
            f"  {SEED}\r\n",
            f"# mine\n\n{SEED}\n{PUBLIC}\n",
            f"-----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n",
            f"-----BEGIN USER NKEY SEED-----\n{SEED}\n-----END USER NKEY SEED-----",
            creds_text("a.b.c", SEED),
        ):
            self.assertEqual(nkey_file(self.file(text))(), Credentials(seed=SEED))

    def test_creds(self) -> None:
        """S26: either line end, no line end, a byte-order mark, text around, five dashes or six."""
        text = creds_text("a.b.c", SEED)
        for variant in (
            text,
            text.replace("\n", "\r\n"),
            text.strip(),
            "\ufeff" + text,
            "as made by me\n\n" + text,
            text.replace("------END", "-----END").replace("------\n", "-----\n"),
            text.replace("IMPORTANT", "-").replace("\nNKEY Seed printed below", "").replace("*\n", "\n"),
        ):
            self.assertEqual(creds_file(self.file(variant))(), Credentials(jwt="a.b.c", seed=SEED))

    def test_bad_creds(self) -> None:
        """S26: missing parts and bad seeds are told with the path, and nothing of the text."""
        operator = Operator()
        good = operator.creds(NKey())
        jwt_only = good[: good.index("****")]
        account = creds_text("a.b.c", NKey(ACCOUNT).seed)
        for text, reason in (
            ("", "is no credentials file"),
            ("s3cret", "is no credentials file"),
            (jwt_only, "is no credentials file"),
            ("-----BEGIN NATS USER JWT-----\n" * 3, "is no credentials file"),
            (creds_text(SEED, "a.b.c"), "its first block is no JWT"),
            (creds_text("a.b.c", "s3cret"), "has a seed that is not base32"),
            (account, "has a seed that is that of an account"),
            (b"\xff\xfe\x00", "is not text in UTF-8"),
            ("-" * 70_000, "has more than 65536 bytes"),
            ("-" * 65_000, "is no credentials file"),
        ):
            path = self.file(text)
            error = self.assertRaises(BadCredentials, creds_file(path))
            self.assertEqual(error.what, str(path))
            self.assertIn(reason, str(error))
            for secret in ("s3cret", SEED, "a.b.c"):
                self.assertNotIn(secret, str(error))

    def test_read_at_each_call(self) -> None:
        """What is in the file now counts, not what was there before."""
        path = self.file("old")
        read = token_file(path)
        self.assertEqual(read(), Credentials(token="old"))
        path.write_text("new")
        self.assertEqual(read(), Credentials(token="new"))

    def test_missing(self) -> None:
        """A file that is not there, or is none, is told with its path."""
        for path, reason in ((self.mktemp(), "No such file or directory"), (os.curdir, "Is a directory")):
            for read in (token_file(path), nkey_file(path), creds_file(path), password_file("me", path)):
                error = self.assertRaises(BadCredentials, read)
                self.assertEqual(str(error), f"{path} cannot be read: {reason}")
        self.assertRaises(BadCredentials, token_file("a\x00b"))

    @given(st.text(st.sampled_from("-BEGINDabc.\n\r= ")) | st.text())
    def test_any_text(self, text: str) -> None:
        """Any text as credentials file is one, or is refused."""
        path = Path("any")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        for read in (creds_file(path), nkey_file(path), token_file(path)):
            try:
                read()
            except BadCredentials as error:
                self.assertTrue(str(error).startswith("any "))

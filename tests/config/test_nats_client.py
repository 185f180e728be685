"""Tests of the flags that say how to log in at NATS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.assembly.connector import make_connector
from natsconnector.config.reading import ConfigurationError, read
from natsconnector.config.settings import Settings
from natsconnector.nats import Credentials, Tls
from tests.nats.issuing import ACCOUNT, Authority, NKey, Operator


def reactor() -> Any:
    """One without sockets."""
    return MemoryReactorClock()


class LoginTests(SynchronousTestCase):
    """What the flags become, and what is told when they cannot work."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def file(self, name: str, text: str) -> str:
        """A file with this text."""
        path = self.folder / name
        path.write_text(text)
        return str(path.absolute())

    def read(self, **flags: str) -> Settings:
        """The settings of these flags."""
        return read({name.replace("_", "-"): value for name, value in flags.items()}, {})

    def faults(self, **flags: str) -> list[str]:
        """What is wrong with these flags."""
        faults: list[str] = self.assertRaises(ConfigurationError, self.read, **flags).faults
        return faults

    def credentials(self, **flags: str) -> Credentials:
        """What the client of these flags would log in with."""
        connector = make_connector(reactor(), self.read(**flags))
        source = connector.client._dialer._identity.credentials
        assert callable(source)
        given = source()
        assert isinstance(given, Credentials)
        return given

    def test_each_way(self) -> None:
        """Password, token, NKey and creds come from their files, read when they are needed."""
        key = NKey()
        password = self.file("password", "p w\n")
        self.assertEqual(
            self.credentials(nats_user="me", nats_password_file=password), Credentials(user="me", password="p w")
        )
        self.assertEqual(self.credentials(nats_token_file=self.file("token", " t\n")), Credentials(token="t"))
        self.assertEqual(self.credentials(nats_nkey_file=self.file("nkey", key.seed)), Credentials(seed=key.seed))
        creds = self.credentials(nats_creds=self.file("creds", Operator().creds(key)))
        self.assertEqual(creds.seed, key.seed)
        assert creds.jwt is not None
        self.assertEqual(creds.jwt.count("."), 2)

    def test_none(self) -> None:
        """Without any of them the URLs decide."""
        identity = make_connector(reactor(), self.read()).client._dialer._identity
        self.assertIsNone(identity.credentials)
        self.assertIsNone(identity.tls)

    def test_tls(self) -> None:
        """The certificates' flags, each alone or together, ask for TLS."""
        authority = Authority(self.folder)
        cert, key = authority.issue("me")
        for flags, tls in (
            ({"nats_ca": authority.ca}, Tls(ca=authority.ca)),
            ({"nats_cert": cert, "nats_key": key}, Tls(cert=cert, key=key)),
            ({"nats_tls_first": "on"}, Tls(first=True)),
        ):
            connector = make_connector(reactor(), self.read(**flags))
            self.assertEqual(connector.client._dialer._identity.tls, tls)
        self.assertEqual(self.read(nats="tls://n").nats, ("tls://n",))

    def test_files_that_cannot_be_used(self) -> None:
        """Missing, unreadable and malformed files are told at once, by flag and path, and nothing of their text."""
        folder = str(self.folder)
        account = self.file("account", NKey(ACCOUNT).seed)
        empty, nonsense = self.file("empty", "\n"), self.file("nonsense", "s3cret")
        for flag, path, reason in (
            ("nats_creds", "/no/such/file", "cannot be read: No such file or directory"),
            ("nats_creds", folder, "cannot be read: Is a directory"),
            ("nats_creds", nonsense, "is no credentials file"),
            ("nats_nkey_file", nonsense, "has a seed that is not base32"),
            ("nats_nkey_file", account, "has a seed that is that of an account, not of a user"),
            ("nats_nkey_file", empty, "is empty"),
            ("nats_token_file", empty, "is empty"),
            ("nats_ca", nonsense, "holds no certificate in PEM"),
        ):
            (fault,) = self.faults(**{flag: path})
            self.assertTrue(fault.startswith(f"--{flag.replace('_', '-')}: '{path}' "), fault)
            self.assertIn(reason, fault)
            self.assertNotIn("s3cret", fault)
        (fault,) = self.faults(nats_user="me", nats_password_file=empty)
        self.assertIn("is empty", fault)

    def test_certificates_that_do_not_fit(self) -> None:
        """A certificate and a key of another one are told before anything is connected, and so are locked keys."""
        authority = Authority(self.folder)
        cert, _ = authority.issue("me")
        _, other = authority.issue("you")
        _, locked = authority.issue("locked", passphrase=b"s3cret")
        nonsense = self.file("nonsense", "s3cret")
        for bad_cert, key, reason in (
            (cert, other, f"is not the key of the certificate in {cert}"),
            (cert, locked, "is a key with a passphrase"),
            (cert, nonsense, "holds no private key in PEM"),
            (nonsense, other, "holds no certificate in PEM"),
            (cert, "/no/such/file", "cannot be read"),
        ):
            (fault,) = self.faults(nats_cert=bad_cert, nats_key=key)
            self.assertIn("--nats-cert, --nats-key: ", fault)
            self.assertIn(reason, fault)
            self.assertNotIn("s3cret", fault)

    def test_flags_that_exclude_each_other(self) -> None:
        """There is one way to log in; flags that need each other come together."""
        token, nkey = self.file("token", "t"), self.file("nkey", NKey().seed)
        cert, _ = Authority(self.folder).issue("me")
        for flags, fault in (
            (
                {"nats_token_file": token, "nats_nkey_file": nkey},
                "--nats-token-file and --nats-nkey-file exclude each other: give one way to log in",
            ),
            (
                {"nats_token_file": token, "nats": "nats://u:pa55@h"},
                "--nats-token-file and credentials in --nats exclude each other: give one way to log in",
            ),
            ({"nats_user": "me"}, "--nats-user needs --nats-password-file"),
            ({"nats_password_file": token}, "--nats-password-file needs --nats-user"),
            ({"nats_cert": cert}, "--nats-cert needs --nats-key"),
            (
                {"embedded": "on", "nats_token_file": token, "nats": "tls://127.0.0.1"},
                "--embedded starts a nats-server without logins and TLS: without --nats-token-file, tls:// in --nats",
            ),
        ):
            self.assertEqual(self.faults(**flags), [fault])

    def test_inbox_prefix(self) -> None:
        """The prefix is a subject without wildcards, and no subject of messages may hear what comes below it."""
        client = make_connector(reactor(), self.read(inbox_prefix="_INBOX_me")).client
        self.assertTrue(client.new_inbox().startswith("_INBOX_me."))
        for bad in ("a b", "a.*", "a.>", "a..b"):
            self.assertIn("is not a prefix of subjects", self.faults(inbox_prefix=bad)[0])
        self.assertEqual(
            self.faults(inbox_prefix="me", subject="me.*.x"),
            ["--subject: 'me.*.x' would hear me.>, where replies to the connector come"],
        )
        self.assertEqual(self.read(inbox_prefix="me", subject="you.x").inbox_prefix, "me")

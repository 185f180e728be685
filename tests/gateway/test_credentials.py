"""Tests of reading the gateway's credentials."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.gateway import BasicAuth, CredentialsFault


class CredentialsTests(SynchronousTestCase):
    """The files ``basic-auth-user`` and ``basic-auth-password``."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.write("user", b"admin\n")
        self.write("password", b" s3cret: \xc3\xbc\r\n")
        self.credentials = BasicAuth(str(self.folder))

    def write(self, what: str, content: bytes) -> None:
        (self.folder / f"basic-auth-{what}").write_bytes(content)

    def decoded(self) -> str:
        scheme, value = self.credentials.authorization().split(" ")
        self.assertEqual(scheme, "Basic")
        return b64decode(value).decode()

    def test_header(self) -> None:
        """White space around the values is an editor's; colons in a password and letters of all kinds are not."""
        self.assertEqual(self.decoded(), "admin:s3cret: ü")

    def test_rotation(self) -> None:
        """They are read once, and once more after they were refused."""
        self.decoded()
        self.write("password", b"new")
        self.assertEqual(self.decoded(), "admin:s3cret: ü")
        self.credentials.forget()
        self.assertEqual(self.decoded(), "admin:new")

    def test_late_files(self) -> None:
        """They need not be there before they are needed, and a fault is not for ever."""
        (self.folder / "basic-auth-user").unlink()
        self.assertRaises(CredentialsFault, self.credentials.authorization)
        self.write("user", b"late")
        self.assertEqual(self.decoded(), "late:s3cret: ü")

    def test_faults(self) -> None:
        """Each fault names its file and what is wrong, and shows nothing of what is in it."""
        for what, content, reason in (
            ("user", b"", "is empty"),
            ("password", b" \n", "is empty"),
            ("user", b"s3cret:x", "holds a colon"),
            ("password", b"s3cret\nmore", "more than one line"),
            ("password", b"s3cret\x00", "control characters"),
            ("password", b"s3cret\x1f.", "control characters"),
            ("user", b"s3cret\x7f", "control characters"),
            ("password", b"s3cret\xff", "is not UTF-8"),
        ):
            self.setUp()
            self.write(what, content)
            fault = self.assertRaises(CredentialsFault, self.credentials.authorization)
            self.assertIn(f"{self.folder}/basic-auth-{what} ", str(fault))
            self.assertIn(reason, str(fault))
            self.assertNotIn("s3cret", f"{fault!r} {fault.__cause__!r}")

    def test_no_folder(self) -> None:
        """A folder that is not there is said to be so."""
        fault = self.assertRaises(CredentialsFault, BasicAuth("/nowhere").authorization)
        self.assertEqual(str(fault), "/nowhere/basic-auth-user cannot be read: No such file or directory")

    def test_repr(self) -> None:
        """What is printed of them tells where they are, not what."""
        self.decoded()
        self.assertEqual(repr(self.credentials), f"BasicAuth({str(self.folder)!r})")

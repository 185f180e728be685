"""The local gateway's command line."""

from __future__ import annotations

from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.local.__main__ import GatewayOptions

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "stack.yml")


class GatewayOptionsTests(SynchronousTestCase):
    def fault(self, *arguments: str) -> str:
        with self.assertRaises(UsageError) as caught:
            GatewayOptions().parseOptions(list(arguments))
        return str(caught.exception)

    def test_files(self) -> None:
        """The named files are read: the functions, and the credentials without the line end an editor leaves."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "basic-auth-user").write_text("admin")
        (folder / "basic-auth-password").write_text("s3cret\n")
        options = GatewayOptions()
        options.parseOptions(["--functions", EXAMPLE, "--credentials", str(folder)])
        self.assertIn("figlet", options.stack)
        self.assertEqual(options.secrets, ("admin", "s3cret"))
        self.assertEqual(options["port"], 8080)

    def test_names(self) -> None:
        """Further names are host names, without ports."""
        options = GatewayOptions()
        options.parseOptions(["--functions", EXAMPLE, "--names", "gateway.team.svc,Gateway.example.com"])
        self.assertEqual(options["names"], ["gateway.team.svc", "Gateway.example.com"])
        for name in ("", "a,", "a:80", "*.example.com", "a b", "-a", "a."):
            self.assertIn("no name of a host", self.fault("--functions", EXAMPLE, "--names", name))

    def test_faults(self) -> None:
        """What is missing or wrong is named."""
        self.assertEqual(self.fault(), "--functions is missing")
        self.assertIn("nope.yml: No such file", self.fault("--functions", "nope.yml"))
        self.assertIn("nowhere/basic-auth-user", self.fault("--functions", EXAMPLE, "--credentials", "nowhere"))
        for port in ("x", "-1", "65536"):
            self.assertIn(port, self.fault("--functions", EXAMPLE, "--port", port))

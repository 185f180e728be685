"""Where a server listens, as users write it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.config.endpoints import server_endpoint
from natsconnector.config.reading import ConfigurationError, read


class EndpointTests(SynchronousTestCase):
    """Twisted's server endpoints, as far as they are taken."""

    def test_tcp(self) -> None:
        """Port and interface, and where a client on the same machine finds them."""
        for text, host, port, url, is_loopback in (
            ("tcp:8081:interface=127.0.0.1", "127.0.0.1", 8081, "http://127.0.0.1:8081", True),
            ("tcp:8081", "", 8081, "http://127.0.0.1:8081", False),
            ("tcp:port=9:interface=0.0.0.0", "0.0.0.0", 9, "http://127.0.0.1:9", False),
            (r"tcp:9:interface=\:\:1", "::1", 9, "http://[::1]:9", True),
            (r"tcp:9:interface=\:\:", "::", 9, "http://[::1]:9", False),
            ("tcp:9:interface=192.0.2.7:backlog=5", "192.0.2.7", 9, "http://192.0.2.7:9", False),
        ):
            found = server_endpoint(text)
            self.assertEqual((found.host, found.port, found.url, found.is_loopback), (host, port, url, is_loopback))

    def test_unix(self) -> None:
        """A path, with or without its name."""
        for text in ("unix:/run/admin.sock", "unix:address=/run/admin.sock:mode=660"):
            found = server_endpoint(text)
            self.assertEqual((found.path, found.port, found.is_loopback), ("/run/admin.sock", 0, False))

    def test_faults(self) -> None:
        """All else is refused before anything listens, with what is wrong."""
        for text, says in {
            "8081": "is not an endpoint like tcp:8081",
            "": "is not an endpoint like",
            "tcp": "is not an endpoint of Twisted",
            "ssl:8081": "is not an endpoint like",
            "tcp:": "is not an endpoint of Twisted",
            "tcp:x": "is not an endpoint of Twisted",
            "tcp:8081:color=red": "is not an endpoint of Twisted",
            "tcp:0": "between 1 and 65535",
            "tcp:65536": "between 1 and 65535",
            "tcp:8081:interface=localhost": "not an IP address",
            "tcp:8081:interface=::1": "",
            "unix:": "names no path",
            "unix": "",
        }.items():
            error = self.assertRaises(ValueError, server_endpoint, text)
            self.assertIn(says, str(error), text)

    def test_setting(self) -> None:
        """It is on by default, may be turned off, and it can be told whether a user chose it."""
        settings = read({}, {})
        self.assertEqual(settings.admin, server_endpoint("tcp:8081:interface=127.0.0.1"))
        self.assertFalse(settings.has_given("admin"))
        self.assertIsNone(read({"admin": "none"}, {}).admin)
        self.assertTrue(read({"admin": "tcp:1"}, {}).has_given("admin"))
        self.assertTrue(read({}, {"NATSCONNECTOR_ADMIN": "tcp:8081:interface=127.0.0.1"}).has_given("admin"))
        error = self.assertRaises(ConfigurationError, read, {"admin": "8081"}, {})
        self.assertIn("--admin: '8081' is not an endpoint", error.faults[0])

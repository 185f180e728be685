"""Which requests a server on this machine may answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from natsconnector.web.hosts import HostRule


class HostRuleTests(SynchronousTestCase):
    """By Host, Origin and Sec-Fetch-Site."""

    def fault(self, told: str, host: str | None, **others: str) -> str | None:
        """What a server on ``told`` says of a request with these headers; ``_`` of a name is ``-``."""
        headers = Headers()
        for name, value in {"Host": host, **others}.items():
            if value is not None:
                headers.addRawHeader(name.replace("_", "-").encode(), value.encode("latin-1"))
        return HostRule(told).fault(headers)

    def test_loopback(self) -> None:
        """The names of the loopback interface are answered, with a port and without, in any case."""
        for host in ("127.0.0.1", "127.0.0.1:8080", "localhost", "LocalHost:1", "[::1]", "[::1]:8080"):
            for told in ("127.0.0.1", "::1", "[::1]", "localhost", "192.0.2.7"):
                self.assertIsNone(self.fault(told, host), host)

    def test_told(self) -> None:
        """So is the address that the server was told to listen on, and no other."""
        self.assertIsNone(self.fault("192.0.2.7", "192.0.2.7:8080"))
        self.assertIsNone(self.fault("2001:db8::7", "[2001:DB8::7]:8080"))
        self.assertIsNotNone(self.fault("192.0.2.7", "192.0.2.8:8080"))

    def test_foreign_host(self) -> None:
        """Any other name is refused: it may be one that somebody lets resolve to 127.0.0.1."""
        for host in (
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.",
            "localhost.evil.example",
            "evil.example@127.0.0.1",
            "127.0.0.1@evil.example",
            "127.0.0.1:8080:80",
            "127.0.0.1, evil.example",
            "2130706433",
            "0.0.0.0:8080",
            "[::ffff:127.0.0.1]",
            "[::1",
            "::1",
            "",
            " ",
            "\xe9",
        ):
            self.assertIsNotNone(self.fault("127.0.0.1", host), host)
        self.assertEqual(
            self.fault("127.0.0.1", "evil.example:80"),
            "the Host 'evil.example:80' is not one of this server, which answers 127.0.0.1, [::1], localhost",
        )

    def test_one_host(self) -> None:
        """No Host is refused, and so are two."""
        self.assertEqual(self.fault("127.0.0.1", None), "a request must have one Host header")
        two = Headers({b"Host": [b"127.0.0.1", b"evil.example"]})
        self.assertEqual(HostRule("127.0.0.1").fault(two), "a request must have one Host header")

    def test_all_addresses(self) -> None:
        """On all addresses also addresses and names without a dot are answered, which nobody's page can rebind."""
        for told in ("0.0.0.0", "::", ""):
            for host in ("gateway:8080", "192.0.2.7", "[2001:db8::7]:8080", "127.0.0.1:8080"):
                self.assertIsNone(self.fault(told, host), host)
            for host in ("evil.example", "192.0.2.7.evil.example", "192.0.2", "gateway."):
                self.assertIn("any name without a dot", self.fault(told, host) or "", host)

    def test_more(self) -> None:
        """Further names count as its own, in any case, and are among those that a refusal tells."""
        for told in ("0.0.0.0", "127.0.0.1"):
            rule = HostRule(told, ["gateway.team.svc", "Gateway.Example.com"])
            for host in (b"gateway.team.svc:8080", b"gateway.example.COM"):
                self.assertIsNone(rule.fault(Headers({b"Host": [host], b"Origin": [b"http://" + host]})), host)
            for host in (b"gateway.team.svc.evil.example", b"evil.team.svc"):
                self.assertIn("gateway.team.svc", rule.fault(Headers({b"Host": [host]})) or "", host)

    def test_origin(self) -> None:
        """A page that came from this server may send requests; no other, also none of another port."""
        host = "localhost:8080"
        self.assertIsNone(self.fault("127.0.0.1", host, Origin="http://localhost:8080"))
        self.assertIsNone(self.fault("127.0.0.1", host, Origin="https://LOCALHOST:8080"))
        for origin in (
            "http://evil.example",
            "null",
            "",
            "http://localhost:3000",
            "http://localhost",
            "http://localhost:8080.evil.example",
            "ftp://localhost:8080",
        ):
            self.assertIn("the Origin", self.fault("127.0.0.1", host, Origin=origin) or "", origin)

    def test_sec_fetch_site(self) -> None:
        """An image or a link of another page sends no Origin, but browsers say that it is of another site."""
        for site, refused in {"none": False, "same-origin": False, "same-site": True, "cross-site": True}.items():
            self.assertEqual(self.fault("127.0.0.1", "127.0.0.1", Sec_Fetch_Site=site) is not None, refused, site)

    def test_shown(self) -> None:
        """What is repeated is short, and holds nothing that a terminal would obey."""
        fault = self.fault("127.0.0.1", "\x1b[2J" + "x" * 10_000) or ""
        self.assertIn(r"\x1b[2J", fault)
        self.assertLess(len(fault), 250)

    @given(st.text(st.characters(max_codepoint=255)))
    def test_anything(self, host: str) -> None:
        """Whatever is sent gets an answer, and only our names get through."""
        if self.fault("127.0.0.1", host) is None:
            name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
            self.assertIn(name.strip("[]").lower(), ("127.0.0.1", "localhost", "::1"))
            self.assertTrue(port == "" or port.isdecimal())

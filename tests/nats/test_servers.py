"""Server URLs and the pool."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.nats.auth import Credentials
from natsconnector.nats.backoff import Backoff
from natsconnector.nats.errors import BadServerUrl
from natsconnector.nats.names import LiteralNameEndpoint
from natsconnector.nats.servers import MOST_LEARNED, Server, ServerPool, parse_server


class ParseServerTests(SynchronousTestCase):
    """URLs."""

    def test_addresses(self) -> None:
        """Host and port in all the ways they are written; the port is 4222 by default."""
        for url, server in (
            ("nats://demo.nats.io", Server("demo.nats.io", 4222)),
            ("NATS://Demo.nats.io:4000/", Server("demo.nats.io", 4000)),
            ("demo", Server("demo", 4222)),
            (" 10.0.0.1:4223 ", Server("10.0.0.1", 4223)),
            ("nats://[::1]:4224", Server("::1", 4224)),
            ("[::1]:4224", Server("::1", 4224)),
            ("TLS://demo:5", Server("demo", 5, tls=True)),
        ):
            self.assertEqual(parse_server(url), server)

    def test_userinfo(self) -> None:
        """User and password, or a token, percent-decoded."""
        for url, server in (
            ("nats://me:s3cret@h", Server("h", 4222, credentials=Credentials(user="me", password="s3cret"))),
            ("nats://m%40e:a%2Fb%3A@h:1", Server("h", 1, credentials=Credentials(user="m@e", password="a/b:"))),
            ("me:@h", Server("h", 4222, credentials=Credentials(user="me", password=""))),
            ("nats://t0ken@h", Server("h", 4222, credentials=Credentials(token="t0ken"))),
            ("nats://@h", Server("h", 4222)),
        ):
            self.assertEqual(parse_server(url), server)

    def test_refused(self) -> None:
        """What is no NATS URL is refused in words that never repeat it, as it may hold a password."""
        for url in (
            "",
            "nats://",
            "http://u:s3cret@h",
            "nats://u:s3cret@h:port",
            "nats://u:s3cret@h:99999",
            "nats://u:s3cret@h:0",
            "nats://u:s3cret@",
            "nats://u:s3cret@h/path",
            "nats://u:s3cret@h?x=1",
            "nats://u:s3cret@[::1",
            "nats://u:s3cret@a b",
        ):
            error = self.assertRaises(BadServerUrl, parse_server, url)
            self.assertNotIn("s3cret", str(error))

    def test_percent_encoding_is_suggested(self) -> None:
        """A password with a character that ends it too early: the error says what to do."""
        for url in (
            "nats://u:s3#cret@h",
            "nats://u:s3/cret@h",
            "nats://u:s3?cret@h",
            "nats://u:s3",
            "nats://s3#cret@h",
        ):
            self.assertIn("percent-encode it", str(self.assertRaises(BadServerUrl, parse_server, url)))
        self.assertRaises(BadServerUrl, parse_server, "nats://u:p@h,nats://i")

    def test_no_secret_is_shown(self) -> None:
        """Neither the name nor the repr of a server holds credentials."""
        for url in ("nats://us3r:s3cret@h", "nats://t0ken@[::1]"):
            shown = repr(parse_server(url)) + parse_server(url).name
            for secret in ("us3r", "s3cret", "t0ken"):
                self.assertNotIn(secret, shown)
        self.assertEqual(parse_server("[::1]:5").name, "[::1]:5")

    def test_endpoints(self) -> None:
        """Addresses are connected to directly, names are looked up."""
        reactor: Any = MemoryReactorClock()
        for host, kind in (
            ("127.0.0.1", TCP4ClientEndpoint),
            ("::1", TCP6ClientEndpoint),
            ("localhost", HostnameEndpoint),
            ("nats.svc.cluster.local.", HostnameEndpoint),
            ("bücher.example", HostnameEndpoint),
            ("func_nats", LiteralNameEndpoint),
            ("a1--b", LiteralNameEndpoint),
            ("x" * 64, LiteralNameEndpoint),
        ):
            self.assertIsInstance(Server(host, 1).endpoint(reactor, 1.0), kind)


class ServerPoolTests(SynchronousTestCase):
    """Turns, and what INFO changes."""

    def pool(self, *urls: str) -> ServerPool:
        """A pool that keeps the order given."""
        return ServerPool(urls, Random(1), shuffle=False)

    def test_turns(self) -> None:
        """The servers take turns, for ever."""
        pool = self.pool("a", "b", "c")
        self.assertEqual([pool.next().host for _ in range(7)], list("abcabca"))

    def test_shuffle(self) -> None:
        """The configured order is shuffled, so that clients spread over the servers."""
        hosts = [f"h{n}" for n in range(20)]
        shuffled = ServerPool(hosts, Random(1)).names
        self.assertNotEqual(shuffled, [f"{host}:4222" for host in hosts])
        self.assertEqual(sorted(shuffled), sorted(f"{host}:4222" for host in hosts))

    def test_doubles(self) -> None:
        """One address is one server, however often it is written."""
        self.assertEqual(self.pool("nats://A", "a:4222", "b").names, ["a:4222", "b:4222"])

    def test_none(self) -> None:
        """A pool without servers is a mistake."""
        self.assertRaises(BadServerUrl, self.pool)

    def test_one_text(self) -> None:
        """One URL instead of a list of them is understood, not taken letter by letter."""
        self.assertEqual(ServerPool("nats://abc", Random(1)).names, ["abc:4222"])

    def test_learn(self) -> None:
        """New addresses come in, with the credentials of the server that named them."""
        pool = self.pool("nats://u:p@a")
        pool.learn(["a:4222", "b:4222", "[::1]:4333", 7, "", "nats://x:y@b:4222"], pool.next())
        self.assertEqual(sorted(pool.names), ["[::1]:4333", "a:4222", "b:4222"])
        for _ in range(3):
            self.assertEqual(pool.next().credentials, Credentials(user="u", password="p"))

    def test_learned_over_tls(self) -> None:
        """S25: what is learned over TLS is reached by TLS only, and has to show the name we connected to."""
        for url, secure, tls, name in (
            ("tls://a.example", True, True, "a.example"),
            ("nats://a.example", True, True, "a.example"),
            ("tls://a.example", False, True, "a.example"),
            ("nats://a.example", False, False, "a.example"),
            ("tls://10.0.0.1", True, True, "10.0.0.1"),
        ):
            pool = self.pool(url)
            pool.learn(["10.0.0.2:4222", "[::1]:4222", "b.example:4222"], pool.next(), secure=secure)
            learned = {server.host: server for server in (pool.next() for _ in range(len(pool)))}
            for host in ("10.0.0.2", "::1", "b.example"):
                self.assertEqual((learned[host].tls, learned[host].tls_name), (tls, name), url)

    def test_bounded(self) -> None:
        """A list of thousands of servers is no reason to try them all."""
        pool = self.pool("a")
        pool.learn([f"h{n}:1" for n in range(50_000)], pool.next())
        self.assertEqual(len(pool), 1 + MOST_LEARNED)
        pool.learn([f"h{n}:1" for n in range(50_000, 100_000)], pool.next())
        self.assertLessEqual(len(pool), 2 + MOST_LEARNED)

    def test_name_is_handed_on(self) -> None:
        """A learned address hands on the name it is known by, not its address."""
        pool = self.pool("tls://a.example")
        pool.learn(["10.0.0.2:4222"], pool.next(), secure=True)
        pool.learn(["10.0.0.3:4222"], pool.next(), secure=True)
        names = {server.host: server.tls_name for server in (pool.next() for _ in range(len(pool)))}
        self.assertEqual(names["10.0.0.3"], "a.example")

    def test_forget(self) -> None:
        """Learned ones go when they are no longer named, but for the current one; configured ones stay."""
        pool = self.pool("a", "z")
        a = pool.next()
        pool.learn(["b:1", "c:1"], a)
        b = next(server for server in (pool.next() for _ in range(4)) if server.host == "b")
        pool.learn(["d:1"], b)
        self.assertEqual(sorted(pool.names), ["a:4222", "b:1", "d:1", "z:4222"])
        pool.learn(["d:1"], a)
        self.assertEqual(sorted(pool.names), ["a:4222", "d:1", "z:4222"])

    def test_nothing_said(self) -> None:
        """An empty, missing or senseless list changes nothing."""
        pool = self.pool("a")
        pool.learn(["b:1"], pool.next())
        nothings: tuple[object, ...] = ([], None, "c:1", {}, [None], ["http://x"])
        for nothing in nothings:
            pool.learn(nothing, parse_server("a"))
            self.assertEqual(sorted(pool.names), ["a:4222", "b:1"])


class BackoffTests(SynchronousTestCase):
    """Delays between rounds."""

    def test_growth(self) -> None:
        """They double up to the cap, each between half and the whole of it, and begin anew after a reset."""
        backoff = Backoff(0.1, 5.0, Random(1))
        for _ in range(2):
            for ceiling_s in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0):
                delay_s = backoff.next_s()
                self.assertTrue(ceiling_s / 2 <= delay_s <= ceiling_s, (delay_s, ceiling_s))
            backoff.reset()

    def test_jitter(self) -> None:
        """Two clients do not come back at the same moment."""
        self.assertNotEqual(Backoff(1, 5, Random(1)).next_s(), Backoff(1, 5, Random(2)).next_s())

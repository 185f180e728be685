"""Tests of taking callbacks: requests in memory, against a place for results that does as a test wants."""

from __future__ import annotations

import re
from typing import Any
from unittest.mock import patch

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from natsconnector.callbacks import receiver as receiving
from natsconnector.callbacks.keys import Keys
from natsconnector.callbacks.listener import Listener
from natsconnector.callbacks.receiver import Receiver
from natsconnector.callbacks.seal import Key, Ticket, seal
from natsconnector.callbacks.sealing import Sealing
from natsconnector.journal.counts import Counts
from natsconnector.journal.results import ResultsJournal
from natsconnector.messages.results import Results
from natsconnector.model.call import Forbidden, Malformed
from natsconnector.model.reply import Reply
from natsconnector.model.seams import ICallbacks, ReplyNotSent, ReplyTooLarge
from tests.web.test_site import Transport

SECRET = b"k" * 32
NOW_S = 1_800_000_000.0
MAX_BYTES = 1000


class FakeResults(Results):
    """
    A place for results.

    :ivar published: subject, reply, hops and id of each.
    :ivar failures: errors for the next ones, used up first; a Deferred is waited for.
    """

    max_bytes = MAX_BYTES

    def __init__(self) -> None:
        self.published: list[tuple[str, Reply, int, str]] = []
        self.failures: list[Exception | Deferred[None]] = []
        self.never: set[str] = set()

    def may_go_to(self, subject: str, *, is_named: bool) -> bool:
        return subject not in self.never and (not is_named or subject.startswith("results."))

    def publish(self, subject: str, reply: Reply, hops: int, message_id: str) -> Deferred[None]:
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Deferred):
                return failure
            failed: Deferred[None] = Deferred()
            failed.errback(failure)
            return failed
        self.published.append((subject, reply, hops, message_id))
        return succeed(None)


class CallbackCase(SynchronousTestCase):
    """A listener, and what makes URLs for it."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.results = FakeResults()
        self.counts = Counts()
        self.secrets: tuple[bytes, ...] = (SECRET,)
        self.now_s = NOW_S
        self.journal = ResultsJournal(self.reactor, self.counts)
        self.listener = self.make()
        self.sealing = Sealing("http://us:1/base", self.keys, self.results, lifetime_s=60.0, now_s=lambda: self.now_s)

    def make(self) -> Listener:
        """A connector's listener: several can be had, with the same keys."""
        self.keys = Keys(self.reactor, lambda: self.secrets)
        receiver = Receiver(self.reactor, "/base", self.keys, self.results, self.journal, now_s=lambda: self.now_s)
        listener = Listener(
            self.reactor,
            receiver,
            endpoint="tcp:1234:interface=127.0.0.1",
            max_body_bytes=lambda: MAX_BYTES,
            over=self.journal.finish,
        )
        listener.site.doStart()
        return listener

    def path(self, subject: str = "results.f", *, is_named: bool = True, call_id: str = "id-1", **more: Any) -> str:
        """What stands behind the host of a callback URL."""
        given = {"is_named": is_named, "has_own_id": False, "hops": 1, **more}
        return self.sealing.callback_url(subject, "figlet", call_id, **given).removeprefix("http://us:1")

    def connect(self, listener: Listener | None = None) -> tuple[Any, Transport]:
        """A queue-worker's connection."""
        channel = (listener or self.listener).site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1234))
        assert channel is not None
        transport = Transport()
        transport.protocol = channel
        channel.makeConnection(transport)
        self.addCleanup(channel.connectionLost, Failure(ConnectionDone()))
        return channel, transport

    def send(
        self, path: str, body: bytes = b"hi", *headers: str, method: str = "POST", status: str = "200",
        listener: Listener | None = None,
    ) -> Transport:  # fmt: skip
        """Send a request as the queue-worker does."""
        channel, transport = self.connect(listener)
        lines = [f"{method} {path} HTTP/1.1", "Host: us", "User-Agent: queue-worker", f"Content-Length: {len(body)}"]
        lines += [f"X-Function-Status: {status}"] * bool(status) + [*headers]
        channel.dataReceived("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        return transport

    def post(self, path: str, *more: Any, **others: Any) -> int:
        """The status of the answer to a request."""
        return self.status(self.send(path, *more, **others))

    def status(self, transport: Transport) -> int:
        head, _, body = transport.value().partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1.1 (\d+) ", head)
        assert match is not None, transport.value()
        self.assertNotIn(b"\r\nServer:", head)
        self.assertNotIn(b"Twisted", head + body)
        return int(match[1])


class ResultTests(CallbackCase):
    """Results on their way."""

    def test_published(self) -> None:
        """What the queue-worker posts is what a synchronous reply would have been; the worker gets its 200."""
        headers = (
            "X-Call-Id: forged", "X-Function-Name: forged", "X-Duration-Seconds: 0.25", "Content-Type: text/x",
            "X-Mine: 1", "X-Callback-Url: http://us/x", "Date: now", "Accept-Encoding: gzip", "Nats-Msg-Id: forged",
        )  # fmt: skip
        self.assertEqual(self.post(self.path(), b"hello", *headers), 200)
        ((subject, reply, hops, message_id),) = self.results.published
        self.assertEqual((subject, reply.status, reply.body), ("results.f", 200, b"hello"))
        self.assertEqual((reply.call_id, reply.error, reply.is_response), ("id-1", None, True))
        self.assertEqual((hops, message_id), (1, "id-1"))
        self.assertEqual(
            sorted(reply.headers),
            [("Content-Type", "text/x"), ("X-Duration-Seconds", "0.25"), ("X-Function-Name", "figlet"),
             ("X-Mine", "1")],
        )  # fmt: skip
        self.assertEqual((self.counts.results, self.counts.callbacks_refused), (1, {}))

    def test_failed_function(self) -> None:
        """A function's failure is a result too, told as elsewhere."""
        self.assertEqual(self.post(self.path(), b"broken", status="500"), 200)
        ((_, reply, _, _),) = self.results.published
        self.assertEqual((reply.status, reply.body, reply.error), (500, b"broken", "figlet answered 500"))

    def test_chunked(self) -> None:
        """A body of which the length is not known."""
        channel, transport = self.connect()
        head = f"POST {self.path()} HTTP/1.1\r\nHost: h\r\nX-Function-Status: 200\r\nTransfer-Encoding: chunked\r\n\r\n"
        for piece in (head.encode(), b"3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\n\r\n"):
            channel.dataReceived(piece)
        self.assertEqual(self.status(transport), 200)
        self.assertEqual(self.results.published[0][1].body, b"abcde")

    def test_proxy_cuts_path(self) -> None:
        """A proxy in front may cut off the path of the address."""
        self.assertEqual(self.post(self.path().removeprefix("/base")), 200)

    def test_publisher_chose_the_call_id(self) -> None:
        """Then the id does not name the result: other calls may have it."""
        for _ in range(2):
            self.assertEqual(self.post(self.path(has_own_id=True)), 200)
        one, other = (message_id for _, _, _, message_id in self.results.published)
        self.assertNotEqual(one, other)

    def test_other_connector(self) -> None:
        """Any connector with the keys takes it, one that has just started too; the id tells a stream that it is one."""
        path = self.path(is_named=False, subject="_INBOX.a")
        other = self.make()
        self.assertEqual((self.post(path), self.post(path, listener=other)), (200, 200))
        self.assertEqual([published[3] for published in self.results.published], ["id-1", "id-1"])

    def test_rotation(self) -> None:
        """A key that is no longer the first one still opens; one that is gone does not."""
        paths = [self.path(), self.path()]
        self.secrets = (b"n" * 32, SECRET)
        self.reactor.advance(5)
        self.assertEqual((self.post(paths[0]), self.post(self.path())), (200, 200))
        self.secrets = (b"n" * 32,)
        self.reactor.advance(5)
        self.assertEqual(self.post(paths[1]), 404)


class RefusedTests(CallbackCase):
    """What is refused, with the reason."""

    def refused(self, reason: str) -> None:
        self.assertEqual(self.counts.callbacks_refused.pop(reason), 1)
        self.assertEqual(self.counts.callbacks_refused, {})

    def test_unknown(self) -> None:
        """All that was not sealed here gets the same answer, with a body too."""
        path = self.path()
        other = seal(Ticket("results.f", "f", "i", 2**32 - 1, True), Key(b"o" * 32), b"n" * 12)
        answers = set()
        for bad in ("/", "/metrics", "/base/", path + "x", path + "?a", path + "/", "/x" + path, f"/{other}", path[:-1],
                    "http://us:1" + path, path.replace("/base", "/Base"), "*", "*?a", "/" + "A" * 5000):  # fmt: skip
            transport = self.send(bad)
            self.assertEqual(self.status(transport), 404, bad)
            answers.add(re.sub(rb"Date: [^\r]*", b"", transport.value()))
            self.refused("unknown")
        self.assertEqual(len(answers), 1)
        self.assertEqual(self.post(path), 200)

    def test_expired(self) -> None:
        """In time until the last second."""
        paths = [self.path(), self.path()]
        self.now_s += 60
        self.assertEqual(self.post(paths[0]), 200)
        self.now_s += 1.5
        self.assertEqual(self.post(paths[1]), 410)
        self.refused("expired")

    def test_replayed(self) -> None:
        """A callback answers its call once."""
        path = self.path()
        self.assertEqual([self.post(path), self.post(path)], [200, 410])
        self.refused("used")
        self.assertEqual(len(self.results.published), 1)

    def test_other_subject(self) -> None:
        """The settings of now count, not those of when it was sealed."""
        path = self.path()
        self.results.never.add("results.f")
        self.assertEqual(self.post(path), 403)
        self.refused("subject")

    def test_status(self) -> None:
        """A queue-worker says how the function ended."""
        for bad in ("", "99", "600", "abc", "2000", "+20", "\xb2\xb2\xb2"):
            self.assertEqual(self.post(self.path(), status=bad), 400, bad)
            self.refused("malformed")
        self.assertEqual(self.post(self.path(), b"", "X-Function-Status: 201"), 400)
        self.assertEqual(self.results.published, [])

    def test_methods(self) -> None:
        """POST alone, wherever."""
        for method in ("GET", "HEAD", "PUT", "OPTIONS", "POSTS"):
            for path in (self.path(), "/"):
                transport = self.send(path, method=method)
                self.assertEqual(self.status(transport), 405)
                self.assertIn(b"\r\nAllow: POST\r\n", transport.value())
        self.assertEqual((self.results.published, self.counts.callbacks_refused), ([], {}))

    def test_too_large(self) -> None:
        """What is too large is not kept; who waits for the result is told so."""
        self.assertEqual(self.post(self.path(), b"x" * MAX_BYTES), 200)
        self.assertEqual(self.post(self.path(), b"x" * (MAX_BYTES + 1)), 413)
        self.refused("too_large")
        self.results.failures.append(ReplyTooLarge("too large for NATS"))
        self.assertEqual(self.post(self.path()), 413)
        self.refused("too_large")
        for (_, reply, _, _), says in zip(
            self.results.published[1:], ("--max-response-bytes", "for NATS"), strict=True
        ):
            self.assertEqual((reply.status, reply.is_response, reply.call_id), (413, False, "id-1"))
            self.assertIn(says, reply.error or "")

    def test_strangers_keep_nothing(self) -> None:
        """Who has no sealed URL cannot make the connector keep a body."""
        for lines in (b"Content-Length: 900", b"Transfer-Encoding: chunked", b"Content-Length: 0"):
            channel, transport = self.connect()
            channel.dataReceived(b"POST /x HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n\r\n" + b"x" * 800)
            self.assertEqual((self.status(transport), transport.disconnecting, channel.requests), (404, True, []))
        channel, _ = self.connect()
        head = f"POST {self.path()} HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n"
        channel.dataReceived(head.encode() + b"x" * 800_000)
        self.assertEqual(len(channel.requests[-1].content.getvalue()), MAX_BYTES + 1)

    def test_told_once(self) -> None:
        """One line for each kind, without the URL."""
        path = self.path()
        with capturedLogs() as logged:
            for _ in range(50):
                self.post(path)
                self.post("/stranger")
            self.journal.finish()
        texts = [formatEvent(event) or "" for event in logged]
        self.assertEqual(len(texts), 4, texts)  # two kinds, and at the end how often each came again
        self.assertIn("refused a callback (used): the result of figlet was taken before", texts)
        for text in texts:
            self.assertNotIn(path.rpartition("/")[2], text)

    def test_table_is_bounded(self) -> None:
        """What was used is remembered until it expires, and only so much of it."""
        self.patch(receiving, "_MOST_USED", 3)
        paths = [self.path() for _ in range(5)]
        self.assertEqual([self.post(path) for path in paths], [200] * 5)
        self.assertEqual([self.post(path) for path in paths[2:]], [410] * 3)
        self.now_s += 61
        self.assertEqual(self.post(self.path()), 200)
        self.assertEqual(len(self.listener._receiver._used), 1)


class AwayTests(CallbackCase):
    """Results that cannot be published at once."""

    def test_comes_back(self) -> None:
        """The queue-worker waits as long as it is worth it."""
        self.results.failures += [ReplyNotSent("away")] * 3
        transport = self.send(self.path())
        for _ in range(3):
            self.assertEqual(transport.value(), b"")
            self.reactor.advance(0.5)
        self.assertEqual(self.status(transport), 200)
        self.assertEqual(self.counts.results_failed, 0)

    def test_stays_away(self) -> None:
        """In the end it is told to come again; then the same URL is good."""
        self.results.failures += [ReplyNotSent("away")] * 1000
        path = self.path()
        transport = self.send(path)
        self.reactor.pump([0.5] * 41)
        self.assertEqual(self.status(transport), 503)
        self.assertIn(b"\r\nRetry-After: 5\r\n", transport.value())
        self.assertEqual((self.counts.results_failed, self.counts.callbacks_refused), (1, {}))
        self.results.failures.clear()
        self.assertEqual(self.post(path), 200)

    def test_twice_at_once(self) -> None:
        """While a result is being published the same callback is told to come again."""
        waits: Deferred[None] = Deferred()
        self.results.failures.append(waits)
        path = self.path()
        first = self.send(path)
        self.assertEqual(self.post(path), 503)
        waits.callback(None)
        self.assertEqual(self.status(first), 200)
        self.assertEqual(self.post(path), 410)

    def test_client_leaves(self) -> None:
        """A queue-worker that does not wait for its answer does no harm."""
        waits: Deferred[None] = Deferred()
        self.results.failures.append(waits)
        channel, _ = self.connect()
        path = self.path()
        channel.dataReceived(f"POST {path} HTTP/1.1\r\nHost: h\r\nX-Function-Status: 200\r\n\r\n".encode())
        channel.connectionLost(Failure(ConnectionDone()))
        waits.callback(None)
        self.assertEqual(self.post(path), 410)

    def test_defect(self) -> None:
        """A defect of ours is logged, and answered."""
        self.results.failures.append(ZeroDivisionError())
        self.assertEqual(self.post(self.path()), 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stop(self) -> None:
        """Whatever is in hand at the end is finished within a bounded time, then all is closed."""
        waits: Deferred[None] = Deferred()
        self.results.failures += [waits, ReplyNotSent("away"), Deferred()]
        transports = [self.send(self.path()) for _ in range(3)]
        stopped = self.listener.stop()
        self.reactor.advance(0.5)
        waits.callback(None)
        self.assertNoResult(stopped)
        self.reactor.advance(5)
        self.assertEqual([self.status(transport) for transport in transports], [200, 200, 503])
        self.reactor.advance(1)
        self.assertTrue(all(transport.disconnecting for transport in transports))

    def test_stop_while_away(self) -> None:
        """At the end nobody waits for NATS."""
        self.results.failures += [ReplyNotSent("away")] * 1000
        transport = self.send(self.path())
        self.listener.stop()
        self.reactor.advance(0.5)
        self.assertEqual(self.status(transport), 503)


class ListenerTests(CallbackCase):
    """The port."""

    def test_interface(self) -> None:
        """It is what it says."""
        verifyObject(ICallbacks, self.listener)

    def test_open_and_stop(self) -> None:
        """It listens where it was told to."""
        self.listener.open()
        self.assertEqual(self.reactor.tcpServers[0][0], 1234)
        with capturedLogs() as logged:
            self.listener.start()
        self.assertEqual([event["event"] for event in logged], ["callbacks_open"])
        self.successResultOf(self.listener.stop())
        self.assertIsNone(self.listener.site.buildProtocol(None))

    def test_taken(self) -> None:
        """Nothing starts where the port cannot be had."""
        with patch.object(self.reactor, "listenTCP", side_effect=OSError("in use")):
            refused = self.assertRaises(SystemExit, self.listener.open)
        self.assertIn("cannot listen on --callback-listen tcp:1234:interface=127.0.0.1: in use", str(refused))


class SealingTests(CallbackCase):
    """Where results may go."""

    def test_forbidden(self) -> None:
        """A subject is looked at before it is sealed, as a named one or as a reply subject."""
        refused = self.assertRaises(Forbidden, self.path, "other")
        self.assertIn("--reply-allow", refused.reason)
        self.path("other", is_named=False)
        self.results.never.add("ours")
        refused = self.assertRaises(Forbidden, self.path, "ours", is_named=False)
        self.assertNotIn("--reply-allow", refused.reason)

    def test_too_long(self) -> None:
        """What does not fit into a URL is refused; what does is shorter than all servers take."""
        self.assertRaises(Malformed, self.path, "a" * 1024, is_named=False, call_id="i" * 300)
        self.assertRaises(Malformed, self.path, "a" * 1025, is_named=False)
        self.assertRaises(Malformed, self.path, "a\ud800", is_named=False)
        self.assertLess(len(self.path("a" * 1000, is_named=False)), 1810)

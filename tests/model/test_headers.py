"""Tests of which headers travel."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.headers import forwarded, may_be_set, returned, trace_id_of

NEVER = (
    "Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Host", "Content-Length",
    "Proxy-Authorization", "Nats-Msg-Id", "Nmqtt-Pub", "Natsconnector-Function", "Dead-Letter-Reason", "bad name", "",
)  # fmt: skip


class HeadersTests(SynchronousTestCase):
    """From message to call, and from response to reply."""

    def test_set(self) -> None:
        """One rule for NATS headers and for params.headers: what is the connection's, NATS's or the connector's."""
        for name in ("X-Tenant", "traceparent", "Authorization", "Accept-Encoding", "Content-Encoding", "Status"):
            self.assertTrue(may_be_set(name), name)
        ours = ("User-Agent", "X-Call-Id", "X-Callback-Url", "X-Reply-Subject", "X-Topic", "X-Connector")
        for name in (*NEVER, *ours, "Proxy", "proxy", "Transfer_Encoding", "X_Topic"):
            self.assertFalse(may_be_set(name), name)

    def test_forwarded(self) -> None:
        """Credentials and what has a place of its own stay with the message."""
        headers = [
            ("A", "b"),
            ("Authorization", "x"),
            ("Accept-Encoding", "gzip"),
            ("Content-Type", "x"),
            ("B", "\x00"),
        ]
        self.assertEqual(forwarded(headers), (("A", "b"),))

    def test_trace_id(self) -> None:
        """The header traceparent names a trace if it is as W3C Trace Context says."""
        trace_id, rest = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7-01"
        self.assertEqual(trace_id_of([("A", "b"), ("Traceparent", f"00-{trace_id}-{rest}")]), trace_id)
        self.assertEqual(trace_id_of([("traceparent", f"cc-{trace_id}-{rest}-what.later.versions.add")]), trace_id)
        for bad in (
            "", f"00-{'0' * 32}-{rest}", f"00-{trace_id.upper()}-{rest}", f"00-{trace_id}", f"00-{trace_id}-{rest}x",
        ):  # fmt: skip
            self.assertIsNone(trace_id_of([("traceparent", bad)]), bad)
        self.assertIsNone(trace_id_of([]))

    def test_returned(self) -> None:
        """A function's headers come back, but none that speaks for the connection, for NATS, or to the connector."""
        self.assertEqual(returned([(name, "x") for name in NEVER]), ())
        for name in ("X-Reply-Subject", "X-Callback-Url", "X-Function-Status", "Set-Cookie", "Date"):
            self.assertEqual(returned([(name, "x")]), (), name)
        self.assertEqual(returned([("Connection", "close, X-Hop"), ("x-hop", "1"), ("A", "b")]), (("A", "b"),))
        self.assertEqual(returned([("Content-Encoding", "gzip")]), (("Content-Encoding", "gzip"),))

    def test_status_line(self) -> None:
        """Clients would take a function's Status for that of the header block: it gets another name."""
        self.assertEqual(
            returned([("Status", "503"), ("description", "gone")]),
            (("X-Function-Header-Status", "503"), ("X-Function-Header-Description", "gone")),
        )

"""Tests of writing requests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.gateway.request import BadRequest, encode_head, encode_request


class RequestTests(SynchronousTestCase):
    """Requests in bytes."""

    def test_encode(self) -> None:
        """Line, headers, length, body; None tells no length."""
        self.assertEqual(
            encode_request(b"POST", b"/f?a", b"h:1", [(b"A", b"")], b"hi"),
            b"POST /f?a HTTP/1.1\r\nHost: h:1\r\nA: \r\nContent-Length: 2\r\n\r\nhi",
        )
        self.assertEqual(encode_request(b"GET", b"/", b"h", []), b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        put = encode_request(b"PUT", b"/", b"h", [], b"")
        self.assertEqual(put, b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")

    def test_refused(self) -> None:
        """Nothing that could end a line, or begin another request, is written."""
        for method, target, name, value in (
            (b"GE T", b"/", b"A", b""),
            (b"", b"/", b"A", b""),
            (b"GET", b"/ HTTP/1.1\r\n", b"A", b""),
            (b"GET", b"", b"A", b""),
            (b"GET", b"/\xc3", b"A", b""),
            (b"GET", b"/", b"A:", b""),
            (b"GET", b"/", b"", b""),
            (b"GET", b"/", b"A", b"1\r\nB: 2"),
            (b"GET", b"/", b"A", b"1\n"),
            (b"GET", b"/", b"A", b"\0"),
        ):
            self.assertRaises(BadRequest, encode_request, method, target, b"h", [(name, value)])

    def test_framing(self) -> None:
        """Who sets what frames a request does not set it."""
        names = (b"Host", b"content-length", b"Transfer-Encoding", b"Connection")
        request = encode_request(b"GET", b"/", b"h", [(name, b"chunked") for name in names])
        self.assertEqual(request, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

    def test_head(self) -> None:
        """A head written as text has the lines it was meant to have, and an encoding."""
        self.assertEqual(encode_head("POST / HTTP/1.1\r\nA: ü\r\n\r\n", 3), b"POST / HTTP/1.1\r\nA: \xc3\xbc\r\n\r\n")
        for head in ("A: 1\r\nB: 2\r\n\r\n", "A: \n\r\n\r\n", "A: \r\r\n\r\n", "A: \0\r\n\r\n", "A: \ud800\r\n\r\n"):
            self.assertRaises(BadRequest, encode_head, head, 2)

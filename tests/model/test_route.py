"""Tests of what stays below a function."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.route import path_fault


class PathTests(SynchronousTestCase):
    """Paths and queries that a publisher may choose."""

    def test_good(self) -> None:
        """Whatever RFC 3986 allows in segments and queries."""
        for path in (
            *("/a", "/", "/a/b/", "/a/b?c=d", "?c=d", "?", "/a.b/c", "/v1.2/~x:@!$&'()*+,;=-_"),
            *("/%20/%C3%BC%e2%82%ac", "/a?../%2e%2e/%00//x?y&z=%ff", "/" + "a" * 2047),
        ):
            self.assertIsNone(path_fault(path), path)

    def test_faults(self) -> None:
        """Nothing that another reader could take for a place outside of the function, or for another request."""
        for path, says in [
            ("", "is not a path"),
            ("a/b", "is not a path"),
            ("/a b", "is not a path"),
            ("/a#b", "is not a path"),
            ("?a#b", "is not a path"),
            ("/a\\b", "is not a path"),
            ("/a\r\nHost: x", "is not a path"),
            ("/a\n", "is not a path"),
            ("/\u00fc", "is not a path"),
            ("/a%", "is not a path"),
            ("/a%2", "is not a path"),
            ("/a%zz", "is not a path"),
            ("/a?b%", "is not a path"),
            ("http://host/a", "is not a path"),
            ("//host/a", "has // in it"),
            ("/a//b", "has // in it"),
            ("/..", "dots"),
            ("/../system/functions", "dots"),
            ("/a/..;x/b", "dots"),
            ("/./a", "dots"),
            ("/a/.", "dots"),
            ("/a/.?b", "dots"),
            ("/%2e%2E/system", "encoded"),
            ("/a%2fb", "encoded"),
            ("/a%5cb", "encoded"),
            ("/a%3fb", "encoded"),
            ("/a%23b", "encoded"),
            ("/%252e%252e/x", "encoded"),
            ("/a%00", "control"),
            ("/a%0d%0aHost:x", "control"),
            ("/a%7f", "control"),
            ("/a%c2%85", "control"),
            ("/%c0%ae%c0%ae/x", "UTF-8"),
            ("/a%ff", "UTF-8"),
            ("/" + "a" * 2048, "more than 2048"),
        ]:
            self.assertIn(says, path_fault(path) or "", path)

"""Tests of what a connector may call."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from natsconnector.model.call import Forbidden, FunctionCall
from natsconnector.planning.permissions import Permissions


class PermissionsTests(SynchronousTestCase):
    """Functions and callback hosts that are allowed."""

    def allowed(self, permissions: Permissions, function: str = "f", callback_url: str | None = None) -> bool:
        try:
            permissions.check(FunctionCall(function, callback_url=callback_url))
        except Forbidden as e:
            self.assertEqual(e.code, 403)
            return False
        return True

    def test_any(self) -> None:
        """Without patterns everything is allowed."""
        self.assertTrue(self.allowed(Permissions(), callback_url="http://anywhere/"))

    def test_functions(self) -> None:
        """Names match whole and in their case, and mean the same with the default namespace and without it."""
        permissions = Permissions(functions=["figlet", "report-*", "any.*", "a*.team-?"])
        for function, allowed in [
            ("figlet", True), ("figlet.openfaas-fn", True), ("figlet.team", False), ("Figlet", False),
            ("figlet2", False), ("xfiglet", False), ("report-a", True), ("report-a.openfaas-fn", True),
            ("report-x.kube-system", False), ("report-axopenfaas-fn", True), ("any", True), ("any.team", True),
            ("any.a.b", False), ("ab.team-1", True), ("a.b.team-1", False), ("ab.team-12", False),
        ]:  # fmt: skip
            self.assertEqual(self.allowed(permissions, function), allowed, function)
        self.assertFalse(self.allowed(Permissions(functions=["*"]), "f.kube-system"))
        self.assertTrue(self.allowed(Permissions(functions=["*.*"]), "f.kube-system"))

    def test_long_host(self) -> None:
        """The reason does not repeat whatever a publisher writes."""
        call = FunctionCall("f", callback_url="http://" + "o" * 5000)
        refused = self.assertRaises(Forbidden, Permissions(callback_hosts=["a"]).check, call)
        self.assertLess(len(str(refused)), 500)

    def test_own_address(self) -> None:
        """A message cannot post to the connector itself, however the address is written; a subject has no host."""
        permissions = Permissions(callback_hosts=["*"], own_address="http://Connector.openfaas:80/x")
        for url in ("http://connector.openfaas/y", "http://CONNECTOR.openfaas.:80/", "http://a@connector.openfaas"):
            self.assertFalse(self.allowed(permissions, callback_url=url), url)
        for url in ("https://connector.openfaas/", "http://connector:80/", "nats:connector.openfaas"):
            self.assertTrue(self.allowed(permissions, callback_url=url), url)

    def test_callback_hosts(self) -> None:
        """A host means every port of it, HOST:PORT that one; tricks with user info and dots change nothing."""
        permissions = Permissions(callback_hosts=["*.example.com", "local:9000", "[::1]", "plain:80", "tls:443"])
        for url, allowed in [
            ("http://a.example.com/x", True), ("https://a.example.com:8443/", True), ("http://A.EXAMPLE.com/", True),
            ("http://a.example.com./", True), ("http://example.com/", False), ("http://a.example.com.evil/", False),
            ("http://evil/a.example.com", False), ("http://a.example.com@evil/", False),
            ("http://evil#a.example.com", False), ("http://local:9000/", True), ("http://local/", False),
            ("http://[::1]:7/", True), ("http://[::2]/", False), ("http://plain/", True), ("https://plain/", False),
            ("https://tls/", True), ("http://tls/", False), ("https://tls:80/", False),
        ]:  # fmt: skip
            self.assertEqual(self.allowed(permissions, callback_url=url), allowed, url)

    def test_synchronous_call(self) -> None:
        """Callback patterns do not concern calls without one."""
        self.assertTrue(self.allowed(Permissions(callback_hosts=["a"])))

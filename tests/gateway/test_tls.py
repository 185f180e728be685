"""Tests of HTTPS gateways, with real TLS servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from service_identity import VerificationError
from twisted.internet import reactor as _reactor
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.gateway import GatewayClient, agent, endpoint
from natsconnector.model.call import FunctionCall
from tests.gateway.servers import RawConnection, RawServer, RawServerCase, answer
from tests.nats.issuing import Authority

reactor: Any = _reactor


class TlsTests(RawServerCase):
    """Who is trusted, and what a refusal says."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.authority = Authority(self.folder)
        self.other = Authority(self.folder, "other")

    def start(self, *hosts: str, body: bytes = b"hi", asked: list[bytes | None] | None = None) -> RawServer:
        certificate, key = self.authority.issue("gateway", *hosts)
        pem = Path(certificate).read_bytes() + Path(key).read_bytes()
        tls: CertificateOptions = PrivateCertificate.loadPEM(pem).options()
        if asked is not None:
            tls.getContext().set_tlsext_servername_callback(
                lambda connection: asked.append(connection.get_servername())
            )
        return self.serve(lambda connection: connection.write(answer(body)), tls)

    def client(self, url: str, ca_file: str | None, *, timeout_s: float = 10.0) -> GatewayClient:
        client = GatewayClient(
            reactor, url, timeout_s=timeout_s, max_connections=10, max_response_bytes=2_000_000, ca_file=ca_file
        )
        self.addCleanup(client.close)
        return client

    async def refused(self, url: str, ca_file: str | None, **more: Any) -> str:
        """Why a call did not reach the gateway, which must surely not have executed it."""
        outcome = await self.client(url, ca_file, **more).call(FunctionCall("f", b"body", call_id="i"))
        self.assertEqual((outcome.status, outcome.ok, outcome.not_executed), (502, False, True), outcome)
        self.assertTrue((outcome.failure or "").startswith("the gateway is unreachable: "), outcome)
        return outcome.failure or ""

    async def test_several_authorities(self) -> None:
        """Any certificate of the file is a root, by name and by address; the connection is kept."""
        both = self.folder / "both.pem"
        both.write_bytes(Path(self.other.ca).read_bytes() + Path(self.authority.ca).read_bytes())
        server = self.start("localhost", "127.0.0.1")
        for host in ("localhost", "127.0.0.1"):
            client = self.client(f"https://{host}:{server.port}", str(both))
            for _ in range(3):
                outcome = await client.call(FunctionCall("f", b"body", call_id="i"))
                self.assertEqual((outcome.status, outcome.body), (200, b"hi"))
        self.assertEqual((len(server.connections), len(server.requests)), (2, 6))

    async def test_large_bodies(self) -> None:
        """Bodies of many TLS records pass both ways."""
        body = b"x" * 1_000_000
        server = self.start("localhost", body=body)
        client = self.client(f"https://localhost:{server.port}", self.authority.ca)
        outcome = await client.call(FunctionCall("f", body, call_id="i"))
        self.assertTrue(outcome.body == body)
        self.assertTrue(server.requests[0].endswith(b"\r\n\r\n" + body))

    async def test_wrong_authority(self) -> None:
        """Neither another authority nor the system's makes the certificate good; nothing of the call is sent."""
        server = self.start("localhost")
        for ca_file in (self.other.ca, None):
            text = await self.refused(f"https://localhost:{server.port}", ca_file)
            self.assertIn("its certificate is not trusted", text)
        self.assertEqual(server.requests, [])

    async def test_wrong_host(self) -> None:
        """A certificate for another host, or another address, is refused; nothing of the call is sent."""
        server = self.start("gateway.example")
        for host in ("localhost", "127.0.0.1"):
            text = await self.refused(f"https://{host}:{server.port}", self.authority.ca)
            self.assertIn("for another host", text)
        self.assertEqual(server.requests, [])

    async def test_not_tls(self) -> None:
        """A gateway that speaks plain HTTP is told apart from one that is not trusted."""
        server = self.serve(lambda connection: connection.write(answer()))
        for connection_made in (lambda connection: None, lambda connection: connection.write(answer())):
            self.patch(RawConnection, "connectionMade", connection_made)
            self.patch(RawConnection, "dataReceived", lambda connection, data: connection.write(answer()))
            text = await self.refused(f"https://localhost:{server.port}", self.authority.ca)
            self.assertIn("it does not speak TLS at this port", text)

    async def test_broken_handshake(self) -> None:
        """A connection that ends within the handshake has carried nothing."""
        server = self.serve(lambda connection: None)
        self.patch(RawConnection, "dataReceived", lambda connection, data: connection.lose())
        text = await self.refused(f"https://localhost:{server.port}", self.authority.ca)
        self.assertIn("the connection broke during the TLS handshake", text)

    async def test_silent_handshake(self) -> None:
        """A handshake that is never answered ends at the deadline, with its connection, and has carried nothing."""
        server = self.serve(lambda connection: None)
        self.patch(RawConnection, "dataReceived", lambda connection, data: None)
        text = await self.refused(f"https://localhost:{server.port}", self.authority.ca, timeout_s=0.2)
        self.assertRegex(text, r"no (TLS )?connection within 0.2 s")
        await server.when_lost

    async def test_handshake_limit(self) -> None:
        """With a long time for the call, there is still a short one for the handshake."""
        server = self.serve(lambda connection: None)
        self.patch(RawConnection, "dataReceived", lambda connection, data: None)
        self.patch(agent, "CONNECT_TIMEOUT_S", 0.2)
        text = await self.refused(f"https://localhost:{server.port}", self.authority.ca, timeout_s=60)
        self.assertIn("no TLS connection within 0.2 s", text)
        await server.when_lost

    async def test_file(self) -> None:
        """The file may change, vanish and come back while it runs; what is wrong with it is said, its path logged."""
        server = self.start("localhost")
        ca_file = self.folder / "mounted.pem"
        url = f"https://localhost:{server.port}"
        call = FunctionCall("f", call_id="i")
        client = self.client(url, str(ca_file))
        for content, text in ((None, "cannot be read: No such file"), ("-----BEGIN NOTHING-----", "holds no cert")):
            if content is not None:
                ca_file.write_text(content)
            with capturedLogs() as logs:
                for _ in range(3):
                    outcome = await client.call(call)
                    self.assertTrue(outcome.not_executed)
                    self.assertIn(f"the file of trusted authorities {text}", outcome.failure or "")
                    self.assertNotIn("mounted.pem", outcome.failure or "")
            lines = [line for line in map(formatEvent, logs) if text in line]
            self.assertEqual(len(lines), 1)
            self.assertTrue(lines[0].endswith(str(ca_file)), lines)
        ca_file.write_bytes(Path(self.other.ca).read_bytes())
        self.assertEqual((await client.call(call)).status, 502)
        ca_file.write_bytes(Path(self.authority.ca).read_bytes())
        self.assertEqual((await client.call(call)).status, 200)

    async def test_absolute_name(self) -> None:
        """The dot at the end of a name is for resolving it: no certificate has it, and no server is asked for it."""
        names = self.resolve_here()
        asked: list[bytes | None] = []
        server = self.start("localhost", asked=asked)
        client = self.client(f"https://localhost.:{server.port}", self.authority.ca)
        outcome = await client.call(FunctionCall("f", call_id="i"))
        self.assertEqual((outcome.status, asked), (200, [b"localhost"]), outcome.failure)
        self.assertEqual(names, ["localhost."])

    async def test_name_without_certificates(self) -> None:
        """A name that no certificate can have is refused, as surely not executed."""
        text = await self.refused("https://func_gateway:1", self.authority.ca)
        self.assertIn("no certificate can be for the name func_gateway", text)


class HandshakeTests(SynchronousTestCase):
    """What TLS tells of a handshake, in an order that not every release of Twisted has."""

    def test_refused_when_complete(self) -> None:
        """A certificate that is refused as the handshake completes makes no connection, and says why."""
        handshake = endpoint._Handshake(self.fail)
        transport = StringTransport()
        handshake.makeConnection(transport)
        transport.loseConnection()
        handshake.handshakeCompleted()
        handshake.connectionLost(Failure(VerificationError(errors=[])))
        fault = self.failureResultOf(handshake.when_done, endpoint.TlsFault)
        self.assertEqual(str(fault.value), "its certificate is for another host")

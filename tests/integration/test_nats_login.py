"""Every way to log in, against a real nats-server."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from natsconnector.local.nats_server import NatsServer, find_nats_server
from natsconnector.nats import (
    AuthorizationError,
    BadCredentials,
    ConnectFailed,
    Credentials,
    NatsClient,
    NatsError,
    PermissionsViolation,
    Status,
    Tls,
    creds_file,
    nkey_file,
    password_file,
    token_file,
)
from tests.integration.nats_case import NatsTestCase, StatusCollector, reactor, turn
from tests.nats.issuing import Authority, NKey, Operator


def server_version() -> tuple[int, ...]:
    """Of the nats-server these tests run against."""
    told = subprocess.run([find_nats_server(), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", told)
    assert found is not None, told
    return tuple(map(int, found.groups()))


class LoginTestCase(NatsTestCase):
    """Clients that get in, or are told why not."""

    def file(self, text: str) -> Path:
        """A file with this text."""
        path = Path(self.mktemp())
        path.write_text(text)
        return path

    async def assert_works(self, url: str, **options: Any) -> NatsClient:
        """A client with these options gets in and is answered."""
        client = await self.client(url, **options)
        await client.flush()
        self.assertEqual(client.statistics.reconnects, 0)
        return client

    async def refusal(self, url: str, **options: Any) -> NatsError:
        """Why a client with these options does not get in; that it goes on trying."""
        options.setdefault("reconnect_wait_s", 0.01)
        client = self.make_client(url, **options)
        error = None
        for _ in range(2):
            while client.last_error is error or client.last_error is None:
                await turn()
            error = client.last_error
        assert error is not None
        self.assertFalse(client.ready)
        return error


class CredentialsTests(LoginTestCase):
    """User and password, token, NKey, JWT."""

    async def test_user_and_password(self) -> None:
        """From the URL, as values, from a file; a wrong one is told as such and never shown."""
        server = await self.server(config_text="authorization { user: me, password: s3cret }")
        await self.assert_works(server.url.replace("//", "//me:s3cret@"))
        await self.assert_works(server.url, credentials=Credentials(user="me", password="s3cret"))
        path = self.file("s3cret\n")
        await self.assert_works(server.url, credentials=password_file("me", path))
        error = await self.refusal(server.url, credentials=Credentials(user="me", password="wr0ng"))
        self.assertIsInstance(error, AuthorizationError)
        self.assertNotIn("wr0ng", str(error))
        error = await self.refusal(server.url)
        self.assertEqual(str(error), "NATS server: Authorization Violation (we have no credentials)")

    async def test_token(self) -> None:
        """From the URL, as a value, from a file."""
        server = await self.server(config_text='authorization { token: "t0ken" }')
        await self.assert_works(server.url.replace("//", "//t0ken@"))
        await self.assert_works(server.url, credentials=Credentials(token="t0ken"))
        await self.assert_works(server.url, credentials=token_file(self.file("t0ken\n")))
        self.assertIsInstance(await self.refusal(server.url, credentials=Credentials(token="x")), AuthorizationError)

    async def test_nkey(self) -> None:
        """The server's nonce is signed with the seed of a file; another seed is refused."""
        key = NKey()
        server = await self.server(config_text=f"authorization {{ users = [ {{ nkey: {key.public} }} ] }}")
        await self.assert_works(server.url, credentials=nkey_file(self.file(key.seed + "\n")))
        error = await self.refusal(server.url, credentials=Credentials(seed=NKey().seed))
        self.assertIsInstance(error, AuthorizationError)

    async def test_nkey_at_a_server_without(self) -> None:
        """A server that sends no nonce knows no NKeys: that is told, and nothing is sent."""
        server = await self.server()
        error = await self.refusal(server.url, credentials=Credentials(seed=NKey().seed))
        self.assertIsInstance(error, BadCredentials)
        self.assertIn("no nonce", str(error))

    async def test_creds(self) -> None:
        """A user's JWT with its seed, in files of either line end; a user of another operator is refused."""
        operator, user = Operator(), NKey()
        server = await self.server(config_text=operator.config_text)
        for line_end in ("\n", "\r\n"):
            path = self.file(operator.creds(user, line_end=line_end))
            await self.assert_works(server.url, credentials=creds_file(path))
        path = self.file(Operator().creds(user))
        self.assertIsInstance(await self.refusal(server.url, credentials=creds_file(path)), AuthorizationError)

    async def test_creds_with_rights(self) -> None:
        """A user whose JWT lets it publish on one function's subject, as nsc writes such rights, reaches that alone."""
        operator = Operator()
        server = await self.server(config_text=operator.config_text)
        functions = await self.client(server.url, credentials=creds_file(self.file(operator.creds(NKey()))))
        functions.subscribe("fn.*", lambda msg: functions.publish(msg.reply or "", msg.subject.encode()))
        await functions.flush()
        path = self.file(
            operator.creds(NKey(), pub={"allow": ["fn.figlet"]}, sub={"allow": ["_INBOX_figlet.>"]})
        )  # fmt: skip
        caller = await self.client(server.url, credentials=creds_file(path), inbox_prefix="_INBOX_figlet")
        self.assertEqual((await caller.request("fn.figlet")).payload, b"fn.figlet")
        with self.assertRaises(PermissionsViolation):
            await caller.request("fn.nodeinfo")

    async def test_expired_creds(self) -> None:
        """A JWT that has expired is refused in the server's general words; we say what we see."""
        operator = Operator()
        server = await self.server(config_text=operator.config_text)
        path = self.file(operator.creds(NKey(), expires_at=1))
        error = await self.refusal(server.url, credentials=creds_file(path))
        self.assertIn("the user's JWT expired at 1970-01-01T00:00:01Z", str(error))

    async def test_expiring_while_connected(self) -> None:
        """Creds that expire end the connection, with that reason; with a new file the client comes back by itself."""
        operator, user = Operator(), NKey()
        server = await self.server(config_text=operator.config_text)
        path = self.file(operator.creds(user, expires_at=int(time.time()) + 2))
        client = await self.client(server.url, credentials=creds_file(path), reconnect_wait_s=0.01)
        statuses = StatusCollector(client)
        lost, back = statuses.when(Status.DISCONNECTED), statuses.when(Status.CONNECTED)
        path.write_text(operator.creds(user))
        reason = await lost
        self.assertIn("user authentication expired", reason.lower())
        await back

    async def test_rotated_files(self) -> None:
        """Each connect reads the files again; one that cannot be read is told, and tried again."""
        path = self.file("one")
        server = await self.server(config_text="authorization { user: me, password: one }")
        client = await self.client(server.url, credentials=password_file("me", path), reconnect_wait_s=0.01)
        statuses = StatusCollector(client)
        lost, back = statuses.when(Status.DISCONNECTED), statuses.when(Status.CONNECTED)
        path.unlink()
        await server.stop()
        await lost
        port = server.port
        await self.server(config_text="authorization { user: me, password: two }", port=port)
        while not isinstance(client.last_error, BadCredentials):
            await turn()
        self.assertEqual(str(client.last_error), f"{path} cannot be read: No such file or directory")
        path.write_text("two")
        await back

    async def test_callable(self) -> None:
        """S29: a callable is asked at each attempt, may raise, and may return a Deferred."""
        server = await self.server(config_text="authorization { user: me, password: pw }")
        asked: list[object] = []

        def credentials() -> Any:
            asked.append(None)
            if len(asked) == 1:
                raise ZeroDivisionError("no answer from the vault")
            return turn().addCallback(lambda _: Credentials(user="me", password="pw" if len(asked) > 2 else "old"))

        client = self.make_client(server.url, credentials=credentials, reconnect_wait_s=0.01)
        await client.when_ready()
        self.assertEqual(len(asked), 3)


class TlsTests(LoginTestCase):
    """TLS: asked for by either side, before INFO and after it, with certificates of both sides."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.authority = Authority(self.folder)
        self.cert, self.key = self.authority.issue("server", "localhost", "127.0.0.1")

    def config(self, more: str = "") -> str:
        """A TLS block with our certificate."""
        return f'tls {{ cert_file: "{self.cert}", key_file: "{self.key}", {more} }}'

    async def tls_server(self, more: str = "", **options: Any) -> NatsServer:
        """A server with TLS."""
        return await self.server(config_text=self.config(more), **options)

    @property
    def trust(self) -> Tls:
        """The authority is trusted."""
        return Tls(ca=self.authority.ca)

    async def test_required_by_the_server(self) -> None:
        """With nats:// too TLS is used where the server requires it, and the certificate is verified."""
        server = await self.tls_server()
        error = await self.refusal(server.url)
        self.assertIn("certificate is not trusted", str(error))
        await self.assert_works(server.url, tls=self.trust)

    async def test_asked_for(self) -> None:
        """tls:// works with host names and addresses."""
        server = await self.tls_server()
        await self.assert_works(f"tls://localhost:{server.port}", tls=self.trust)
        await self.assert_works(f"tls://127.0.0.1:{server.port}", tls=self.trust)

    async def test_where_tls_is_offered(self) -> None:
        """Where the server leaves the choice, tls:// means TLS and nats:// does not."""
        server = await self.server(config_text=f"{self.config()}\nallow_non_tls: true")
        secure = await self.assert_works(f"tls://127.0.0.1:{server.port}", tls=self.trust)
        assert secure._session.connection is not None
        self.assertTrue(secure._session.connection.secure)
        plain = await self.assert_works(server.url)
        assert plain._session.connection is not None
        self.assertFalse(plain._session.connection.secure)

    async def test_where_there_is_none(self) -> None:
        """S23: where TLS was asked for and is not offered, nothing is sent, and that is the reason."""
        server = await self.server()
        for url, tls in ((f"tls://127.0.0.1:{server.port}", None), (server.url, self.trust)):
            error = await self.refusal(url, tls=tls)
            self.assertIn("offers no TLS", str(error))

    async def test_other_host(self) -> None:
        """A certificate for another host is not accepted; the name it is for can be given."""
        self.cert, self.key = self.authority.issue("other", "other.example")
        server = await self.tls_server()
        error = await self.refusal(f"tls://localhost:{server.port}", tls=self.trust)
        self.assertIsInstance(error, ConnectFailed)
        self.assertIn("for another host", str(error))
        named = Tls(ca=self.authority.ca, server_name="other.example")
        await self.assert_works(f"tls://localhost:{server.port}", tls=named)

    async def test_expired_certificate(self) -> None:
        """A server whose certificate has expired is not talked to."""
        self.cert, self.key = self.authority.issue("old", "localhost", "127.0.0.1", days=-1)
        server = await self.tls_server()
        self.assertIn("not trusted", str(await self.refusal(server.url, tls=self.trust)))

    async def test_client_certificate(self) -> None:
        """Where the server wants one, ours is shown; without one, or with a foreign one, that is the reason."""
        server = await self.tls_server(f'ca_file: "{self.authority.ca}", verify: true')
        cert, key = self.authority.issue("me")
        await self.assert_works(server.url, tls=Tls(self.authority.ca, cert, key))
        error = await self.refusal(server.url, tls=self.trust)
        self.assertIn("does not accept our certificate, or misses one", str(error))
        cert, key = Authority(self.folder, "foreign").issue("me too")
        error = await self.refusal(server.url, tls=Tls(self.authority.ca, cert, key))
        self.assertIn("does not accept our certificate", str(error))

    async def test_rotated_certificates(self) -> None:
        """Each connect reads the certificates again."""
        server = await self.tls_server(f'ca_file: "{self.authority.ca}", verify: true')
        cert, key = Authority(self.folder, "foreign").issue("me")
        self.assertIn("our certificate", str(await self.refusal(server.url, tls=Tls(self.authority.ca, cert, key))))
        client = self.make_client(server.url, tls=Tls(self.authority.ca, cert, key), reconnect_wait_s=0.01)
        while client.last_error is None:
            await turn()
        self.authority.issue("me")
        await client.when_ready()

    async def test_first(self) -> None:
        """TLS before INFO, where the server wants it so; without it the reason gives a hint."""
        if server_version() < (2, 10, 4):
            raise SkipTest("handshake_first needs nats-server 2.10.4")
        server = await self.tls_server("handshake_first: true")
        await self.assert_works(server.url, tls=Tls(ca=self.authority.ca, first=True))
        error = await self.refusal(server.url, tls=self.trust, connect_timeout_s=10.0)
        self.assertIn("handshake_first", str(error))

    async def test_first_where_info_comes_first(self) -> None:
        """TLS first at a server that begins with INFO fails, and says why."""
        server = await self.tls_server()
        error = await self.refusal(server.url, tls=Tls(ca=self.authority.ca, first=True))
        self.assertIn("does not speak TLS at this point", str(error))

    async def test_password_inside_tls(self) -> None:
        """Logins work inside TLS, and their refusals come through."""
        server = await self.server(config_text=f"{self.config()}\nauthorization {{ user: me, password: pw }}")
        await self.assert_works(server.url.replace("nats://", "tls://me:pw@"), tls=self.trust)
        error = await self.refusal(server.url.replace("nats://", "tls://me:wr0ng@"), tls=self.trust)
        self.assertIsInstance(error, AuthorizationError)

    async def test_large_messages(self) -> None:
        """Far more than a socket holds goes through TLS both ways."""
        server = await self.tls_server()
        client = await self.client(server.url, tls=self.trust, max_buffered_bytes=64 << 20)
        sizes: list[int] = []
        client.subscribe("a", lambda msg: sizes.append(len(msg.payload)))
        for _ in range(20):
            client.publish("a", bytes(1 << 20))
        await client.flush(60)
        await client.flush(60)
        self.assertEqual(sizes, [1 << 20] * 20)

    async def test_close_with_tls(self) -> None:
        """What was published right before the close has arrived after it, through TLS too."""
        server = await self.tls_server()
        ours, theirs = await self.client(server.url, tls=self.trust), await self.client(server.url, tls=self.trust)
        got: list[bytes] = []
        theirs.subscribe("a", lambda msg: got.append(msg.payload))
        await theirs.flush()
        for _ in range(1000):
            ours.publish("a")
        await ours.close()
        while len(got) < 1000:
            await theirs.flush()
        self.assertIs(reactor.running, True)

"""The settings of the servers: NATS, and the gateway."""

from __future__ import annotations

from dataclasses import dataclass

from natsconnector.config import files, nats_values, values
from natsconnector.config.flags import GATEWAY, NATS, Alias, setting, switch


# One entry, as few lines as it needs; the order is that of help texts and documents.
# fmt: off
@dataclass(frozen=True)
class ServerSettings:
    """Where the servers are, and how the connector shows them who it is."""

    nats: tuple[str, ...] = setting(
        "nats", values.list_of(nats_values.nats_url), "nats://127.0.0.1:4222",
        "URLs of NATS servers: nats://[USER:PASSWORD@]HOST[:PORT], or tls:// for TLS; a user without a password is a"
        " token. Flags can be read in the process list: put a URL with a password into the environment",
        "NATS_URL", "NATS_HOST", "broker_host", group=NATS, metavar="URL[,URL]", secret=True)
    nats_user: str | None = setting(
        "nats-user", str, None, "user at NATS, with --nats-password-file", "NATS_USER", group=NATS, metavar="U")
    nats_password: str | None = setting(
        "nats-password", str, None, "password of --nats-user; a file is safer", "NATS_PASSWORD", group=NATS,
        metavar="P", secret=True, in_environment_only=True)
    nats_password_file: str | None = setting(
        "nats-password-file", files.password, None, "file with the password of --nats-user", group=NATS, metavar="F")
    nats_token_file: str | None = setting(
        "nats-token-file", files.token, None, "file with the token for NATS", group=NATS, metavar="F")
    nats_token: str | None = setting(
        "nats-token", str, None, "token for NATS; a file is safer", "NATS_TOKEN", group=NATS, metavar="T",
        secret=True, in_environment_only=True)
    nats_nkey_file: str | None = setting(
        "nats-nkey-file", files.nkey, None, "file with the seed of a user's NKey (SU...)", "NATS_NKEY", group=NATS,
        metavar="F")
    nats_creds: str | None = setting(
        "nats-creds", files.creds, None, "credentials file (.creds) with a user's JWT and seed", "NATS_CREDS",
        group=NATS, metavar="F")
    nats_ca: str | None = setting(
        "nats-ca", files.ca, None, "PEM file with the authorities to trust for NATS over TLS; none: the system's",
        "NATS_CA", group=NATS, metavar="F")
    nats_cert: str | None = setting(
        "nats-cert", files.any_file, None, "PEM file with the client certificate to show to NATS, with --nats-key",
        "NATS_CERT", group=NATS, metavar="F")
    nats_key: str | None = setting(
        "nats-key", files.any_file, None, "PEM file with the key of --nats-cert", "NATS_KEY", group=NATS, metavar="F")
    nats_tls_first: bool = switch(
        "nats-tls-first", "begin the connection with TLS, for servers with handshake_first", group=NATS)
    inbox_prefix: str = setting(
        "inbox-prefix", nats_values.inbox_prefix, "_INBOX",
        "prefix of the subjects on which the connector receives the server's replies; set it where the user may not"
        " subscribe to _INBOX.>", group=NATS, metavar="P")

    gateway: str = setting(
        "gateway", values.gateway_url, "http://127.0.0.1:8080", "URL of the OpenFaaS gateway; http:// may be left out",
        "GATEWAY_URL", "gateway_url", "FAAS_GATEWAY", "FAAS_HOST", "FAAS_HOSt",
        group=GATEWAY, metavar="URL", secret=True)
    gateway_credentials: str | None = setting(
        "gateway-credentials", files.gateway_credentials, None,
        "folder with the files basic-auth-user and basic-auth-password, with which the connector reads the gateway's"
        " list of functions",
        Alias("secret_mount_path", only_if="basic_auth"), group=GATEWAY, metavar="DIR")
    gateway_auth_scope: str = setting(
        "gateway-auth-scope", values.one_of("system", "all"), "system",
        "which requests have these credentials: system, those for the list of functions; all, every call too, so that"
        " functions see them",
        group=GATEWAY, metavar="S")
    gateway_ca: str | None = setting(
        "gateway-ca", files.ca, None, "PEM file with the authorities to trust for an https gateway; none: the system's",
        group=GATEWAY, metavar="F")
# fmt: on

"""The configuration: what flags and environment give, read once and checked as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from natsconnector import login, values
from natsconnector.flags import FLAGS, PREFIX, Flag
from natsconnector.nats.servers import parse_server
from natsconnector.topics import overlaps

__all__ = ["FLAGS", "PREFIX", "ConfigurationError", "Settings", "read"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Names that are written in the other connectors' documents, but that their code does not know.
_LOOKALIKES = {
    "async_invocation": "asynchronous_invocation is the name",
    "print_sync": "print_response is the name",
    "NATS_URI": "NATS_HOST is the name",
}


class ConfigurationError(Exception):
    """Everything that is wrong with a configuration, a sentence each, with names as the user wrote them."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Settings:
    """A configuration without faults. Durations are in seconds."""

    nats: tuple[str, ...] = field(repr=False)
    nats_user: str | None
    nats_password_file: str | None
    nats_token_file: str | None
    nats_nkey_file: str | None
    nats_creds: str | None
    nats_ca: str | None
    nats_cert: str | None
    nats_key: str | None
    nats_tls_first: bool
    inbox_prefix: str
    gateway: str
    gateway_credentials: str | None
    gateway_auth_scope: str
    gateway_ca: str | None
    topics: tuple[str, ...] | None
    topics_from_annotations: bool
    topic_queue_group: str
    topic_delimiter: str
    queued: bool
    rebuild_interval_s: float
    content_type: str | None
    subjects: tuple[str, ...] | None
    queue_group: str
    callback_allow: tuple[str, ...] | None
    allow_function: tuple[str, ...] | None
    timeout_s: float
    max_wait_s: float | None
    max_inflight: int
    max_inflight_per_function: int | None
    max_pending_messages: int
    max_pending_bytes: int
    max_response_bytes: int
    retry_attempts: int
    retry_codes: tuple[int, ...]
    retry_wait_s: float
    retry_max_wait_s: float
    retry_backoff: str
    stream: str | None
    consumer: str
    ack_wait_s: float
    js_domain: str | None
    dead_letter: str | None
    shutdown_timeout_s: float
    print_response: bool
    print_response_body: bool
    print_request_body: bool
    log_format: str
    log_level: str
    embedded: bool
    functions: str | None
    given: tuple[str, ...] = ()
    """What the user gave, as ``NAME=VALUE``; of what may hold a secret only the name."""
    warnings: tuple[str, ...] = ()
    """What the user should know about the configuration, a sentence each."""


@dataclass(frozen=True)
class _Given:
    """A value and the name under which the user gave it."""

    name: str
    text: str


def read(flags: Mapping[str, str | None], environment: Mapping[str, str]) -> Settings:
    """
    The settings that flags and environment give: flag, else ``NATSCONNECTOR_*``, else alias, else default.

    :param flags: what stands on the command line, by the flag's name; None where nothing does.
    :raises ConfigurationError: with all that is wrong.
    """
    faults: list[str] = []
    told: list[str] = []
    warnings: list[str] = []
    found: dict[str, Any] = {}
    names: dict[str, str] = {}
    for flag in FLAGS:
        try:
            given = _given(flag, flags, environment, warnings)
            if given is None:
                given = _Given(f"--{flag.name}", _default(flag, found))
            else:
                told.append(given.name if flag.secret else f"{given.name}={given.text}")
        except ValueError as e:
            faults.append(str(e))
            continue
        names[flag.attribute] = given.name
        if given.text.lower() == "none" and (flag.default is None or flag.topics_default == "none"):
            found[flag.attribute] = None
            continue
        try:
            found[flag.attribute] = flag.parse(given.text)
        except ValueError as e:
            value = "" if flag.secret else f" {given.text!r}"
            faults.append(f"{given.name}:{value} {e}")
    _check_together(found, names, faults)
    try:
        warnings += _unknown_names(environment, found)
    except ValueError as e:
        faults.append(str(e))
    if faults:
        raise ConfigurationError(faults)
    for flag in FLAGS:
        if flag.is_switch:
            found[flag.attribute] = bool(found[flag.attribute])
    return Settings(**found, given=tuple(told), warnings=tuple(warnings))


def _default(flag: Flag, found: Mapping[str, Any]) -> str:
    if flag.topics_default is not None and (found.get("topics") or found.get("topics_from_annotations")):
        return flag.topics_default
    if flag.stream_default is not None and found.get("stream"):
        return flag.stream_default
    return flag.default or "none"


def _given(
    flag: Flag, flags: Mapping[str, str | None], environment: Mapping[str, str], warnings: list[str]
) -> _Given | None:
    candidates = [_Given(f"--{flag.name}", flags.get(flag.name) or "")]
    candidates.append(_Given(flag.environment_name, environment.get(flag.environment_name, "")))
    for candidate in candidates:
        if candidate.text.strip():
            return _Given(candidate.name, candidate.text.strip())
    aliases = []
    for alias in flag.aliases:
        text = environment.get(alias.name, "").strip()
        if text and (alias.only_if is None or _is_on(alias.only_if, environment)):
            try:
                meant = alias.means(text)
            except ValueError as e:
                raise ValueError(f"{alias.name}: {text!r} {e}") from None
            if meant is not None:
                aliases.append(_Given(alias.name, meant))
    if not aliases:
        return None
    warnings += [
        f"{aliases[0].name} and {other.name} disagree: {aliases[0].name} counts"
        for other in aliases[1:]
        if other.text != aliases[0].text
    ]
    return aliases[0]


def _is_on(name: str, environment: Mapping[str, str]) -> bool:
    text = environment.get(name, "").strip()
    try:
        return bool(text) and values.switch(text)
    except ValueError as e:
        raise ValueError(f"{name}: {text!r} {e}") from None


def _check_together(found: Mapping[str, Any], names: Mapping[str, str], faults: list[str]) -> None:
    wait, longest = found.get("retry_wait_s"), found.get("retry_max_wait_s")
    if wait is not None and longest is not None and wait > longest:
        faults.append(f"{names['retry_wait_s']} ({wait:g}s) is longer than {names['retry_max_wait_s']} ({longest:g}s)")
    faults += login.faults(found, names)
    faults += _subject_faults(found, names)
    if found.get("gateway_auth_scope") == "all" and not found.get("gateway_credentials"):
        faults.append(f"{names['gateway_auth_scope']}: there are no credentials to send, see --gateway-credentials")
    if found.get("functions") is not None and not found.get("embedded"):
        faults.append(f"{names['functions']} needs --embedded: without it the gateway knows the functions")
    if found.get("embedded"):
        hosts = [parse_server(url).host for url in found.get("nats", ())]
        if "gateway" in found:
            hosts.append(urlsplit(found["gateway"]).hostname)
        elsewhere = [host for host in hosts if host not in _LOOPBACK]
        if elsewhere or len(hosts) > 2:
            faults.append(
                "--embedded starts one nats-server and one gateway on 127.0.0.1: --nats and --gateway"
                " can only choose the ports"
            )


def _subject_faults(found: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the subjects as a whole: each message is to arrive once, in one of the two ways."""
    subjects, topics = found.get("subjects") or (), found.get("topics") or ()
    for subject in subjects:
        for topic in topics:
            if overlaps(subject, topic):
                yield f"{names['subjects']} {subject} and {names['topics']} {topic} overlap: messages would come twice"
    if "subjects" in found and not subjects and not topics and not found.get("topics_from_annotations"):
        yield f"{names['subjects']}: there is nothing to listen on, neither subjects nor topics"
    if found.get("stream") and found.get("topics_from_annotations"):
        yield (
            f"{names['stream']} and {names['topics_from_annotations']} exclude each other: the consumer of a stream"
            " has fixed subjects, name them with --topics"
        )
    if found.get("dead_letter") is not None:
        for subject in (*subjects, *topics):
            if overlaps(found["dead_letter"], subject):
                yield f"{names['dead_letter']}: the connector would hear its own dead letters on {subject}"


def _unknown_names(environment: Mapping[str, str], found: Mapping[str, Any]) -> list[str]:
    known = {flag.environment_name for flag in FLAGS}
    unknown = [name for name in sorted(environment) if name.startswith(PREFIX) and name not in known]
    warnings = [f"{name} is set but means nothing" for name in unknown]
    warnings += [
        f"{name} is set but means nothing: {instead}" for name, instead in _LOOKALIKES.items() if environment.get(name)
    ]
    given = environment.get("secret_mount_path") or found.get("gateway_credentials")
    if _is_on("basic_auth", environment) and not given:
        warnings.append("basic_auth is on, but secret_mount_path does not say where the credentials are")
    return warnings

"""The configuration: the one place that knows flags, environment names, their aliases and defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from natsconnector import values
from natsconnector.nats.errors import BadServerUrl, BadSubject
from natsconnector.nats.servers import parse_server
from natsconnector.nats.subjects import encode_pattern
from natsconnector.topics import overlaps

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
PREFIX = "NATSCONNECTOR_"

# The server's own: replies to others, the JetStream API, system events.
_NEVER_SUBSCRIBED = ("_INBOX.>", "$JS.>", "$SYS.>")


class ConfigurationError(Exception):
    """Everything that is wrong with a configuration, a sentence each, with names as the user wrote them."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def _nats_url(text: str) -> str:
    try:
        parse_server(text)
    except BadServerUrl as e:  # whose text names no secret
        raise ValueError(f"is not a NATS server's URL: {e}") from None
    return text


def _subject(text: str) -> str:
    try:
        encode_pattern(text)
    except BadSubject as e:
        raise ValueError(f"is not a subject: {e.reason}") from None
    for reserved in _NEVER_SUBSCRIBED:
        if overlaps(text, reserved):
            raise ValueError(f"would hear {reserved}, which is NATS's own")
    return text


@dataclass(frozen=True)
class Alias:
    """An environment name that deployments of other connectors use."""

    name: str
    means: Callable[[str], str | None] = lambda text: text
    """The value of ours for its value; None when it says nothing."""


def _debug_level(text: str) -> str | None:
    return "debug" if values.switch(text) else None


@dataclass(frozen=True)
class Flag:
    """One setting: ``--max-inflight`` of the command line, ``NATSCONNECTOR_MAX_INFLIGHT`` of the environment."""

    name: str
    parse: Callable[[str], Any]
    default: str | None
    """As a user would write it; None when the setting is off unless given."""
    meaning: str
    aliases: tuple[Alias, ...] = ()
    field: str = ""
    """The field of :class:`Settings`; as the flag's name unless given."""
    secret: bool = False
    """The value may hold a secret: no message repeats it."""

    @property
    def attribute(self) -> str:
        return self.field or self.name.replace("-", "_")

    @property
    def environment_name(self) -> str:
        return PREFIX + self.name.replace("-", "_").upper()

    @property
    def is_switch(self) -> bool:
        return self.parse is values.switch


def _aliases(*names: str) -> tuple[Alias, ...]:
    return tuple(Alias(name) for name in names)


FLAGS: tuple[Flag, ...] = (
    Flag("nats", values.list_of(_nats_url), "nats://127.0.0.1:4222",
         "NATS servers, URL[,URL]: nats://[USER:PASSWORD@]HOST[:PORT]; a flag is seen in the process list",
         _aliases("NATS_URL", "NATS_HOST", "broker_host"), secret=True),
    Flag("gateway", values.gateway_url, "http://127.0.0.1:8080", "URL of the OpenFaaS gateway",
         _aliases("GATEWAY_URL", "gateway_url", "FAAS_GATEWAY", "FAAS_HOST", "FAAS_HOSt"), secret=True),
    Flag("subject", values.list_of(_subject), "function.call", "subjects where JSON envelopes arrive, S[,S]",
         field="subjects"),
    Flag("queue-group", values.word, "functions", "queue group of these subjects"),
    Flag("callback-allow", values.list_of(values.host_pattern), None,
         "hosts that callback_url may name, PATTERN[,PATTERN]; unset: any"),
    Flag("allow-function", values.list_of(values.function_pattern), None,
         "functions that may be called, PATTERN[,PATTERN]; unset: any"),
    Flag("timeout", values.duration, "60s", "for one call, body included, time in the backlog not",
         _aliases("upstream_timeout"), field="timeout_s"),
    Flag("max-wait", values.duration, None,
         "a message that waited longer in the backlog is answered 503 instead of called", field="max_wait_s"),
    Flag("max-inflight", values.whole_number(1, 65536), "100", "calls at the gateway at once",
         _aliases("max_inflight")),
    Flag("max-pending-messages", values.whole_number(0, 10_000_000), "65536", "backlog, in messages"),
    Flag("max-pending-bytes", values.size, "64MiB", "backlog, in bytes of payload"),
    Flag("max-response-bytes", values.size, "8MiB", "a longer answer of a function is cut off (413)"),
    Flag("retry-attempts", values.whole_number(1, 1000), "3", "attempts in total, the first included",
         _aliases("max_retry_attempts")),
    Flag("retry-codes", values.list_of(values.status_code), "429,503",
         "statuses that are tried again, C[,C]; 502 and 504 stand for calls that may have been executed",
         _aliases("retry_http_codes")),
    Flag("retry-wait", values.duration, "500ms", "wait before the second attempt; doubles with each further one",
         _aliases("initial_retry_wait"), field="retry_wait_s"),
    Flag("retry-max-wait", values.duration, "120s", "longest wait, that of a Retry-After included",
         _aliases("max_retry_wait"), field="retry_max_wait_s"),
    Flag("retry-backoff", values.one_of("exponential", "full", "equal"), "full",
         "exponential, or with full or equal jitter", _aliases("backoff")),
    Flag("shutdown-timeout", values.duration, "25s", "how long work in progress may take at the end",
         field="shutdown_timeout_s"),
    Flag("print-response", values.switch, None, "log a line for every answer", _aliases("print_response")),
    Flag("print-response-body", values.switch, None, "log the answers' bodies too", _aliases("print_response_body")),
    Flag("print-request-body", values.switch, None, "log the requests' bodies", _aliases("print_request_body")),
    Flag("log-format", values.one_of("console", "json"), "console", "console or json", _aliases("log_encoding")),
    Flag("log-level", values.one_of("debug", "info", "warn", "error"), "info", "debug, info, warn or error",
         (Alias("debug", _debug_level),)),
    Flag("embedded", values.switch, None,
         "start a nats-server and a local gateway as well, where --nats and --gateway say, for trying things out"),
    Flag("functions", str, None,
         "with --embedded: the stack.yml of the functions; unset: stack.yml or examples/stack.yml", field="functions"),
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """A configuration without faults. Durations are in seconds."""

    nats: tuple[str, ...] = field(repr=False)
    gateway: str
    subjects: tuple[str, ...]
    queue_group: str
    callback_allow: tuple[str, ...] | None
    allow_function: tuple[str, ...] | None
    timeout_s: float
    max_wait_s: float | None
    max_inflight: int
    max_pending_messages: int
    max_pending_bytes: int
    max_response_bytes: int
    retry_attempts: int
    retry_codes: tuple[int, ...]
    retry_wait_s: float
    retry_max_wait_s: float
    retry_backoff: str
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
        except ValueError as e:
            faults.append(str(e))
            continue
        names[flag.attribute] = given.name
        if given.text is not flag.default and given.text != "none":
            told.append(given.name if flag.secret else f"{given.name}={given.text}")
        if given.text.lower() == "none" and flag.default is None:
            found[flag.attribute] = None
            continue
        try:
            found[flag.attribute] = flag.parse(given.text)
        except ValueError as e:
            value = "" if flag.secret else f" {given.text!r}"
            faults.append(f"{given.name}:{value} {e}")
    _check_together(found, names, faults)
    warnings += _unknown_names(environment)
    if faults:
        raise ConfigurationError(faults)
    for flag in FLAGS:
        if flag.is_switch:
            found[flag.attribute] = bool(found[flag.attribute])
    return Settings(**found, given=tuple(told), warnings=tuple(warnings))


def _given(flag: Flag, flags: Mapping[str, str | None], environment: Mapping[str, str], warnings: list[str]) -> _Given:
    candidates = [_Given(f"--{flag.name}", flags.get(flag.name) or "")]
    candidates.append(_Given(flag.environment_name, environment.get(flag.environment_name, "")))
    for candidate in candidates:
        if candidate.text.strip():
            return _Given(candidate.name, candidate.text.strip())
    aliases = []
    for alias in flag.aliases:
        text = environment.get(alias.name, "").strip()
        if text:
            try:
                meant = alias.means(text)
            except ValueError as e:
                raise ValueError(f"{alias.name}: {text!r} {e}") from None
            if meant is not None:
                aliases.append(_Given(alias.name, meant))
    if not aliases:
        return _Given(f"--{flag.name}", flag.default or "none")
    warnings += [
        f"{aliases[0].name} and {other.name} disagree: {aliases[0].name} counts"
        for other in aliases[1:]
        if other.text != aliases[0].text
    ]
    return aliases[0]


def _check_together(found: Mapping[str, Any], names: Mapping[str, str], faults: list[str]) -> None:
    wait, longest = found.get("retry_wait_s"), found.get("retry_max_wait_s")
    if wait is not None and longest is not None and wait > longest:
        faults.append(f"{names['retry_wait_s']} ({wait:g}s) is longer than {names['retry_max_wait_s']} ({longest:g}s)")
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


def _unknown_names(environment: Mapping[str, str]) -> list[str]:
    known = {flag.environment_name for flag in FLAGS}
    return [
        f"{name} is set but means nothing"
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in known
    ]

"""What is wrong with settings only together.

Each check gets the values found so far by field, and the names under which the user gave them; a value that was itself
wrong is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any
from urllib.parse import urlsplit

from natsconnector.model.subjects import overlaps, reserved_for_nats
from natsconnector.nats import BadCredentials, Tls, parse_server

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SOURCES = ("subjects", "function_subjects", "topics")
WAYS_TO_LOG_IN = ("nats_user", "nats_token", "nats_token_file", "nats_nkey_file", "nats_creds")
_TLS = ("nats_ca", "nats_cert", "nats_key", "nats_tls_first")


def faults(found: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    """All that is wrong, a sentence each."""
    yield from _retries(found, names)
    yield from _login(found, names)
    yield from _subjects(found, names)
    yield from _replies(found, names)
    yield from _gateway(found, names)
    yield from _results(found, names)
    yield from _embedded(found, names)


def _retries(found: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    wait, longest = found.get("retry_wait_s"), found.get("retry_max_wait_s")
    if wait is not None and longest is not None and wait > longest:
        yield f"{names['retry_wait_s']} ({wait:g}s) is longer than {names['retry_max_wait_s']} ({longest:g}s)"


def _login(found: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    if {"nats_user", "nats_password", "nats_password_file"} <= found.keys():
        password = next((name for name in ("nats_password_file", "nats_password") if found[name] is not None), None)
        if found["nats_user"] is not None and password is None:
            yield f"{names['nats_user']} needs {names['nats_password_file']}"
        if found["nats_user"] is None and password is not None:
            yield f"{names[password]} needs {names['nats_user']}"
        if found["nats_password"] is not None and found["nats_password_file"] is not None:
            yield f"{names['nats_password']} and {names['nats_password_file']} exclude each other"
    if {"nats_cert", "nats_key"} <= found.keys() and (found["nats_cert"] is None) != (found["nats_key"] is None):
        given, missing = ("nats_cert", "nats_key") if found["nats_key"] is None else ("nats_key", "nats_cert")
        yield f"{names[given]} needs {names[missing]}"
    ways = [names[way] for way in WAYS_TO_LOG_IN if found.get(way)]
    if any(parse_server(url).credentials is not None for url in found.get("nats", ())):
        ways.append(f"credentials in {names['nats']}")
    if len(ways) > 1:
        yield f"{' and '.join(ways)} exclude each other: give one way to log in"
    if found.get("nats_cert") and found.get("nats_key"):
        try:
            Tls(cert=found["nats_cert"], key=found["nats_key"]).options("localhost")
        except BadCredentials as e:
            yield f"{names['nats_cert']}, {names['nats_key']}: {e}"


def _subjects(found: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    """Each message is to arrive once, in one of the three ways, and none that the connector itself publishes."""
    sources = [(field, subject) for field in _SOURCES for subject in found.get(field) or ()]
    prefix = found.get("inbox_prefix")
    for field, subject in sources:
        if not found.get("stream") and (reserved := reserved_for_nats(subject)) is not None:
            yield f"{names[field]}: {subject!r} would hear {reserved}, which is NATS's own"
        if field != "topics" and prefix not in (None, "_INBOX") and overlaps(subject, f"{prefix}.>"):
            yield f"{names[field]}: {subject!r} would hear {prefix}.>, where replies to the connector come"
    for (field, subject), (other_field, other) in combinations(sources, 2):
        if (field != other_field or field == "function_subjects") and overlaps(subject, other):
            what = "messages would come twice" if other_field == "topics" else "a message could mean either"
            yield f"{names[field]} {subject} and {names[other_field]} {other} overlap: {what}"
    if "subjects" in found and not sources and not found.get("topics_from_annotations"):
        yield f"{names['subjects']}: there is nothing to listen on, neither subjects nor topics"
    if found.get("ordered_by") and found.get("stream") and found.get("topics_from_annotations"):
        yield (
            f"{names['ordered_by']} and {names['topics_from_annotations']} with {names['stream']} exclude each other:"
            " each annotated topic has a consumer of its own, and a stream is in order only within one: name the topics"
            " with --topics"
        )
    if found.get("js_domain") is not None and found.get("js_prefix") is not None:
        yield f"{names['js_domain']} and {names['js_prefix']} exclude each other: a domain is a prefix of its own"
    if found.get("dead_letter") is not None:
        for _, subject in sources:
            if overlaps(found["dead_letter"], subject):
                yield f"{names['dead_letter']}: the connector would hear its own dead letters on {subject}"


def _replies(found: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    """Replies that an operator sends somewhere are not heard by the connector itself, and are answers to something."""
    own = [(subject, "listens") for field in _SOURCES for subject in found.get(field) or ()]
    sources = [subject for subject, _ in own]
    if found.get("dead_letter") is not None:
        own.append((found["dead_letter"], "puts dead letters"))
    if found.get("inbox_prefix") is not None:
        own.append((f"{found['inbox_prefix']}.>", "gets replies"))
    for mapping in found.get("reply_subject_for") or ():
        name = f"{names['reply_subject_for']} {mapping}"
        for subject, does in own:
            if overlaps(mapping.targets, subject):
                yield f"{name}: the connector itself {does} on {subject}"
        if not found.get("topics_from_annotations") and not any(overlaps(mapping.source, each) for each in sources):
            yield f"{name}: the connector does not listen on {mapping.source}"


def _gateway(found: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    if found.get("gateway_auth_scope") == "all" and not found.get("gateway_credentials"):
        yield f"{names['gateway_auth_scope']}: there are no credentials to send, see --gateway-credentials"


def _results(found: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    if found.get("callback_listen") is None:
        return
    for field in ("callback_address", "callback_key_file"):
        if field in found and found[field] is None:
            yield f"{names['callback_listen']} needs {names[field]}"
    admin = found.get("admin")
    if admin is not None and admin.text == found["callback_listen"].text:
        yield f"{names['callback_listen']} and {names['admin']} are the same endpoint: results have a port of their own"


def _embedded(found: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    if not found.get("embedded"):
        if found.get("functions") is not None:
            yield f"{names['functions']} needs --embedded: without it the gateway knows the functions"
        return
    servers = [parse_server(url) for url in found.get("nats", ())]
    hosts = [server.host for server in servers]
    if "gateway" in found:
        hosts.append(urlsplit(found["gateway"]).hostname or "")
    if len(hosts) > 2 or any(host not in _LOOPBACK for host in hosts):
        yield (
            "--embedded starts one nats-server and one gateway on 127.0.0.1: --nats and --gateway can only choose"
            " the ports"
        )
    more = [names[name] for name in (*WAYS_TO_LOG_IN, *_TLS) if found.get(name)]
    more += [f"tls:// in {names['nats']}"] * any(server.tls for server in servers)
    if more:
        yield f"--embedded starts a nats-server without logins and TLS: without {', '.join(more)}"

"""How the values are written that NATS judges: server URLs, names, subjects. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from natsconnector.model.mapping import SubjectMapping
from natsconnector.model.subjects import reserved_for_nats, subject_fault
from natsconnector.nats import BadServerUrl, BadSubject, check_inbox_prefix, parse_server
from natsconnector.nats.jetstream import check_name


def nats_url(text: str) -> str:
    """A server's URL."""
    try:
        parse_server(text)
    except BadServerUrl as e:  # whose text names no secret
        raise ValueError(f"is not a NATS server's URL: {e}") from None
    return text


def inbox_prefix(text: str) -> str:
    """A prefix for reply subjects."""
    try:
        return check_inbox_prefix(text)
    except BadSubject as e:
        raise ValueError(f"is not a prefix of subjects: {e.reason}") from None


def prefix(text: str) -> str:
    """A prefix of subjects, such as ``$JS.acme.API``."""
    try:
        return check_inbox_prefix(text.removesuffix("."))
    except BadSubject as e:
        raise ValueError(f"is not a prefix of subjects: {e.reason}") from None


def name(text: str) -> str:
    """The name of a stream, a consumer or a domain."""
    try:
        return check_name(text)
    except ValueError:
        raise ValueError("is not a name: no white space, dots, slashes and wildcards") from None


def subject(text: str) -> str:
    """A subject to subscribe to."""
    if (fault := subject_fault(text)) is not None:
        raise ValueError(fault)
    return text


def function_subject(text: str) -> str:
    """A subject with one or two ``*``: a function's name, and its namespace."""
    tokens = subject(text).split(".")
    if tokens.count("*") not in (1, 2) or ">" in tokens:
        raise ValueError("is not a subject like fn.* or fn.*.*, where * is a function and the second * its namespace")
    return text


def concrete_subject(text: str) -> str:
    """A subject to publish to."""
    if {"*", ">"} & set(subject(text).split(".")):
        raise ValueError("has wildcards: it is published to")
    if (reserved := reserved_for_nats(text)) is not None:
        raise ValueError(f"is one of {reserved}, which is NATS's own")
    return text


def reply_subject_for(text: str) -> SubjectMapping:
    """``FROM=TO``: subjects of messages, and where their replies go."""
    source, equals, target = text.partition("=")
    if not equals:
        raise ValueError("is not FROM=TO, like mq.call=mq.answer or mq.*.call=mq.$1.answer")
    return SubjectMapping(source.strip(), target.strip())


def deliver(text: str) -> Mapping[str, Any]:
    """Where a consumer begins that is made: ``all``, ``new``, ``last``, a sequence, or a time (RFC 3339)."""
    if text.lower() in ("all", "new", "last"):
        return {"deliver_policy": text.lower()}
    if re.fullmatch(r"[1-9][0-9]{0,17}", text):
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": int(text)}
    try:
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
        if moment.tzinfo is None or "T" not in text.upper():
            raise ValueError
    except ValueError:
        raise ValueError("is none of all, new, last, a sequence, or a time like 2026-01-31T12:00:00Z") from None
    return {"deliver_policy": "by_start_time", "opt_start_time": moment.astimezone(timezone.utc).isoformat()}

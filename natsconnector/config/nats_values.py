"""How the values are written that NATS judges: server URLs, names, subjects. Pure."""

from __future__ import annotations

from natsconnector.model.subjects import subject_fault
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


def concrete_subject(text: str) -> str:
    """A subject to publish to."""
    if {"*", ">"} & set(subject(text).split(".")):
        raise ValueError("has wildcards: it is published to")
    return text

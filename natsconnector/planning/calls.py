"""What calls are made of, whichever way their message came. Pure: a refusal is an exception, all else a value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from natsconnector.model.call import FunctionCall, Malformed
from natsconnector.model.headers import Header, forwarded, is_header_value
from natsconnector.model.subjects import subject_fault

TO_SUBJECT = "nats:"
"""What a callback URL begins with whose result is to be published on the subject that follows."""

CONNECTOR = ("X-Connector", "natsconnector")

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,256}")
_URL = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,8192}", re.ASCII)  # RFC 3986, 2


class TopicMessage:
    """
    A message on a topic: what its calls, one for each function that wants the topic, have in common.

    A message header ``X-Callback-Url`` makes them asynchronous, one ``Content-Type`` counts before all others.

    :raises Malformed: either of these headers, or the subject, is not fit to be sent.
    """

    __slots__ = ("_callback_url", "_content_type", "_headers", "_payload")

    def __init__(self, subject: str, payload: bytes, headers: Iterable[Header]) -> None:
        if not is_header_value(subject):
            raise Malformed(f"the subject is not a header value, as which it goes along: {shown(subject)}")
        by_name = {name.lower(): value for name, value in headers}
        self._content_type = by_name.get("content-type")
        if self._content_type is not None and not is_header_value(self._content_type):
            raise Malformed(f"the header Content-Type is not a header value: {shown(self._content_type)}")
        self._callback_url = callback_url(by_name.get("x-callback-url"), "the header X-Callback-Url")
        self._headers = (("X-Topic", subject), CONNECTOR, *forwarded(headers))
        self._payload = payload

    def call(
        self, function: str, *, call_id: str, queued: bool, timeout_s: float | None, content_type: str | None
    ) -> FunctionCall:
        """
        The call of one function with the raw payload.

        :param content_type: unless the message says otherwise.
        """
        return FunctionCall(
            function,
            self._payload,
            self._content_type or content_type,
            self._headers,
            self._callback_url,
            call_id,
            queued,
            timeout_s,
        )


def publishers_call_id(headers: Iterable[Header]) -> str | None:
    """
    The publisher's own call id, from the message's header ``X-Call-Id``; None when it gave none.

    :raises Malformed: it cannot go into an HTTP header.
    """
    for name, value in headers:
        if name.lower() == "x-call-id":
            if not _VISIBLE_ASCII.fullmatch(value):
                raise Malformed(f"the header X-Call-Id is not 1 to 256 visible ASCII characters: {shown(value)}")
            return value
    return None


def callback_url(url: object, where: str) -> str | None:
    """
    The URL of a callback; None when there is none.

    :param where: the name of the field, for the reason of a refusal.
    :raises Malformed: it is neither an absolute http or https URL nor ``nats:SUBJECT``.
    """
    if url is None:
        return None
    if not isinstance(url, str):
        raise Malformed(f"{where} is {kind(url)}, not a string")
    if url.startswith(TO_SUBJECT):
        subject = url.removeprefix(TO_SUBJECT)
        fault = subject_fault(subject)
        if fault is None and {"*", ">"} & {*subject.split(".")}:
            fault = "has a wildcard"
        if fault is not None:
            raise Malformed(f"{where} names a subject, {shown(subject)}, that {fault}")
        return url
    if _URL.fullmatch(url):
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").removesuffix(".")
            # An IPv6 address may have a zone behind a %. In a name % would hide from --callback-allow what is meant.
            is_host = bool(host) and (":" in host or ("%" not in host and all(host.split("."))))
            if parts.scheme in ("http", "https") and is_host and parts.port != 0:
                return url
        except ValueError:  # brackets that do not match, a port that is no port
            pass
    raise Malformed(f"{where} {shown(url)} is not an absolute http or https URL")


def shown(value: object) -> str:
    """A value as a reason names it: short, on one line, whatever it holds."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 100 else text[:97] + "..."


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    names: dict[type, str] = {
        bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object",
    }  # fmt: skip
    return names[type(value)]

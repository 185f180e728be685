"""What a message asks for: a call of one function. Pure: bytes in, a :class:`FunctionCall` or a refusal out."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from natsconnector.model.call import FunctionCall, Malformed
from natsconnector.model.headers import CONNECTION, Header, forwarded, is_header_name, is_header_value

# One name for a DNS label or two joined by the dot that separates function and namespace; no character of it needs
# quoting in a URL path, and none can climb out of /function/.
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,256}")
_URL = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,8192}", re.ASCII)  # RFC 3986, 2
_LIKE_JAVASCRIPT = re.compile(r"\s*[\[{]\s*(?:'|[A-Za-z_$][\w$]*\s*:)|:\s*'")

# Those that have a place of their own in the message, where they are checked.
_RESERVED_HEADERS = {
    "content-type": "params.content_type",
    "x-callback-url": "params.callback_url",
    "x-call-id": "the message's header X-Call-Id",
}


def envelope_call(payload: bytes, headers: Iterable[Header] = ()) -> FunctionCall:
    """
    The call that a JSON envelope asks for: ``{"function": NAME, "params": {"body": ..., "callback_url": URL}}``.

    :param headers: of the message; they go along, except where ``params.headers`` says otherwise.
    :raises Malformed: it is not such an envelope; the reason names the offending field.
    """
    envelope = _json_object(payload)
    params = envelope.get("params")
    if params is None:
        params = {}
    elif not isinstance(params, dict):
        raise Malformed(f"params is {_kind(params)}, not an object")
    body, content_type = _body(params)
    return FunctionCall(
        function=_function_name(envelope),
        body=body,
        content_type=_content_type(params) or content_type,
        headers=_merged(forwarded(headers), _headers(params)),
        callback_url=_callback_url(params.get("callback_url"), "params.callback_url"),
    )


def topic_call(
    function: str, subject: str, payload: bytes, headers: Iterable[Header], *, content_type: str | None, queued: bool
) -> FunctionCall:
    """
    The call of a function with the raw payload of a message on a topic.

    A message header ``X-Callback-Url`` makes it asynchronous, one ``Content-Type`` counts before ``content_type``.

    :raises Malformed: either of these headers, or the subject, is not fit to be sent.
    """
    if not is_header_value(subject):
        raise Malformed(f"the subject is not a header value, as which it goes along: {_shown(subject)}")
    by_name = {name.lower(): value for name, value in headers}
    content_type = by_name.get("content-type") or content_type
    if content_type is not None and not is_header_value(content_type):
        raise Malformed(f"the header Content-Type is not a header value: {_shown(content_type)}")
    return FunctionCall(
        function,
        payload,
        content_type,
        headers=(("X-Topic", subject), ("X-Connector", "natsconnector"), *forwarded(headers)),
        callback_url=_callback_url(by_name.get("x-callback-url"), "the header X-Callback-Url"),
        queued=queued,
    )


def publishers_call_id(headers: Iterable[Header]) -> str | None:
    """
    The publisher's own call id, from the message's header ``X-Call-Id``; None when it gave none.

    :raises Malformed: it cannot go into an HTTP header.
    """
    for name, value in headers:
        if name.lower() == "x-call-id":
            if not _VISIBLE_ASCII.fullmatch(value):
                raise Malformed(f"the header X-Call-Id is not 1 to 256 visible ASCII characters: {_shown(value)}")
            return value
    return None


def _json_object(payload: bytes) -> dict[str, Any]:
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as e:
        raise Malformed(f"not JSON: byte {e.start} is not UTF-8") from None
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise Malformed("not acceptable JSON: nested too deeply") from None
    except json.JSONDecodeError as e:
        if not text.strip():
            raise Malformed("not JSON: the payload is empty") from None
        hint = ""
        if _LIKE_JAVASCRIPT.match(text) or _LIKE_JAVASCRIPT.search(text[:200]):
            hint = "; it looks like JavaScript: JSON wants double quotes around every key and every string"
        raise Malformed(f"not JSON: {e.msg} at line {e.lineno} column {e.colno}{hint}") from None
    except ValueError as e:  # a number of thousands of digits
        raise Malformed(f"not acceptable JSON: {e}") from None
    if not isinstance(value, dict):
        raise Malformed(f"the message is {_kind(value)}, not an object with a function")
    return value


def _refuse_constant(name: str) -> None:
    raise Malformed(f"not JSON: {name} is no JSON number")


def _function_name(envelope: Mapping[str, Any]) -> str:
    name = envelope.get("function")
    if name is None:
        raise Malformed("function is missing")
    if not isinstance(name, str):
        raise Malformed(f"function is {_kind(name)}, not a string")
    if not _FUNCTION_NAME.fullmatch(name) or ".." in name:
        raise Malformed(
            f"function {_shown(name)} is no function name: letters, digits, '_', '-' and single dots,"
            " a letter or digit at both ends"
        )
    return name


def _body(params: Mapping[str, Any]) -> tuple[bytes, str | None]:
    """The request body, and its content type as far as the message's form tells."""
    body, encoded = params.get("body"), params.get("body_base64")
    if body is not None and encoded is not None:
        raise Malformed("params has both body and body_base64: give one")
    if encoded is not None:
        if not isinstance(encoded, str):
            raise Malformed(f"params.body_base64 is {_kind(encoded)}, not a string")
        try:
            return base64.b64decode(encoded, validate=True), "application/octet-stream"
        except (binascii.Error, ValueError) as e:
            raise Malformed(f"params.body_base64 is not base64: {e}") from None
    if body is None:
        return b"", None
    try:
        if isinstance(body, str):
            return body.encode("utf-8"), "text/plain"
        compact = json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return compact.encode("utf-8"), "application/json"
    except UnicodeEncodeError:
        raise Malformed("params.body has half of a surrogate pair, which is no character") from None
    except RecursionError:
        raise Malformed("params.body is nested too deeply") from None
    except ValueError:
        raise Malformed("params.body has a number out of range") from None


def _content_type(params: Mapping[str, Any]) -> str | None:
    value = params.get("content_type")
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or not is_header_value(value):
        raise Malformed(f"params.content_type is not a header value: {_shown(value)}")
    return value.strip()


def _headers(params: Mapping[str, Any]) -> tuple[Header, ...]:
    headers = params.get("headers")
    if headers is None:
        return ()
    if not isinstance(headers, dict):
        raise Malformed(f"params.headers is {_kind(headers)}, not an object")
    for name, value in headers.items():
        lower = name.lower()
        if not is_header_name(name):
            raise Malformed(f"params.headers: {_shown(name)} is no header name")
        if lower in CONNECTION:
            raise Malformed(f"params.headers may not set {name}")
        if lower in _RESERVED_HEADERS:
            raise Malformed(f"params.headers may not set {name}: use {_RESERVED_HEADERS[lower]}")
        if not isinstance(value, str):
            raise Malformed(f"params.headers: {name} is {_kind(value)}, not a string")
        if not is_header_value(value):
            raise Malformed(f"params.headers: the value of {name} has control characters: {_shown(value)}")
    return tuple((name, value.strip()) for name, value in headers.items())


def _merged(forwarded: tuple[Header, ...], own: tuple[Header, ...]) -> tuple[Header, ...]:
    names = {name.lower() for name, _ in own}
    ours = (("X-Connector", "natsconnector"), *forwarded)
    return (*(each for each in ours if each[0].lower() not in names), *own)


def _callback_url(url: object, where: str) -> str | None:
    if url is None:
        return None
    if not isinstance(url, str):
        raise Malformed(f"{where} is {_kind(url)}, not a string")
    if _URL.fullmatch(url):
        try:
            parts = urlsplit(url)
            if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
                return url
        except ValueError:  # brackets that do not match, a port that is no port
            pass
    raise Malformed(f"{where} {_shown(url)} is not an absolute http or https URL")


def _shown(value: object) -> str:
    """A value as a reason names it: short, on one line, whatever it holds."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 100 else text[:97] + "..."


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {
        bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object",
    }  # fmt: skip
    return names[type(value)]

"""The JSON envelope: ``{"function": NAME, "params": {"body": ..., "callback_url": URL}}``. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from natsconnector.model.call import FunctionCall, Malformed
from natsconnector.model.headers import Header, forwarded, is_header_name, is_header_value, may_be_set
from natsconnector.model.route import ROOT, Route
from natsconnector.planning.calls import CONNECTOR, callback_url, check_route, function_name, kind, shown

_LIKE_JAVASCRIPT = re.compile(r"\s*[\[{]\s*(?:'|[A-Za-z_$][\w$]*\s*:)|:\s*'")

# As many lines as the NATS client takes of a header block.
_MOST_HEADERS = 512
_PARAMS = ("body", "body_base64", "callback_url", "content_type", "headers", "async")
# Headers that have a field of their own; params.headers must not bypass the checks of that field.
_RESERVED_HEADERS = {
    "content-type": "params.content_type",
    "x-callback-url": "params.callback_url",
    "x-call-id": "the message's header X-Call-Id",
    "function-path": "the message's header Function-Path",
    "function-method": "the message's header Function-Method",
}


def read_envelope(payload: bytes) -> tuple[str, Mapping[str, Any]]:
    """
    The function that an envelope names, and its ``params``.

    :raises Malformed: it is not such an envelope; the reason names the offending field.
    """
    envelope = _json_object(payload)
    params = envelope.get("params")
    if params is None:
        params = {}
    elif not isinstance(params, dict):
        raise Malformed(f"params is {kind(params)}, not an object")
    if params.get("body") is None and params.get("body_base64") is None:
        _refuse_slips(envelope, params)
    return _function_name(envelope), params


def envelope_call(
    function: str,
    params: Mapping[str, Any],
    headers: Iterable[Header] = (),
    *,
    call_id: str = "",
    queued: bool = False,
    timeout_s: float | None = None,
    route: Route = ROOT,
) -> FunctionCall:
    """
    The call that an envelope asks for with its ``params``.

    :param headers: of the message; they go along, except where ``params.headers`` says otherwise.
    :raises Malformed: a field of ``params`` is not what it has to be, which the reason names; or the route's method
        does not fit.
    """
    body, content_type = _body(params)
    call = FunctionCall(
        function,
        body,
        _content_type(params) or content_type,
        _merged(forwarded(headers), _headers(params)),
        callback_url(params.get("callback_url"), "params.callback_url"),
        call_id,
        queued,
        timeout_s,
        route,
        _is_async(params),
    )
    if route is not ROOT:
        check_route(call)
    return call


def _json_object(payload: bytes) -> dict[str, Any]:
    try:
        text = payload.removeprefix(BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as e:
        raise Malformed(f"not JSON: byte {e.start} is not UTF-8") from None
    try:
        value = _DECODER.decode(text)
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
        raise Malformed(f"the message is {kind(value)}, not an object with a function")
    return value


def _refuse_constant(name: str) -> None:
    raise Malformed(f"not JSON: {name} is no JSON number")


# Made once: json.loads() would make one for each message.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _refuse_slips(envelope: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    """
    Refuse an envelope without a body that has a field in the wrong place, or one that is misspelt.

    Elsewhere unknown fields are ignored. Where there is no body an unknown field was most likely meant to be the body,
    and the function would run with nothing.
    """
    for name in params:
        if name not in _PARAMS:
            near = get_close_matches(name[:40], _PARAMS, 1)
            hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(_PARAMS)}"
            raise Malformed(f"params has no body, and an unknown field {shown(name)}: {hint}")
    for name in envelope:
        if name in _PARAMS:
            raise Malformed(f"{name} stands beside params, not in it: write params.{name}")
        if name not in ("function", "params") and (near := get_close_matches(name[:40], ("params", *_PARAMS), 1, 0.75)):
            raise Malformed(f"there is no body, and an unknown field {shown(name)}: did you mean {near[0]}?")


def _function_name(envelope: Mapping[str, Any]) -> str:
    name = envelope.get("function")
    if name is None:
        raise Malformed("function is missing")
    if not isinstance(name, str):
        raise Malformed(f"function is {kind(name)}, not a string")
    return function_name(name)


def _body(params: Mapping[str, Any]) -> tuple[bytes, str | None]:
    """The request body, and its content type as far as the message's form tells."""
    body, encoded = params.get("body"), params.get("body_base64")
    if body is not None and encoded is not None:
        raise Malformed("params has both body and body_base64: give one")
    if encoded is not None:
        if not isinstance(encoded, str):
            raise Malformed(f"params.body_base64 is {kind(encoded)}, not a string")
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
        raise Malformed(f"params.content_type is not a header value: {shown(value)}")
    return value.strip()


def _is_async(params: Mapping[str, Any]) -> bool:
    value = params.get("async")
    if value is None or isinstance(value, bool):
        return value is True
    raise Malformed(f"params.async is {kind(value)}, not a boolean")


def _headers(params: Mapping[str, Any]) -> tuple[Header, ...]:
    headers = params.get("headers")
    if headers is None:
        return ()
    if not isinstance(headers, dict):
        raise Malformed(f"params.headers is {kind(headers)}, not an object")
    if len(headers) > _MOST_HEADERS:
        raise Malformed(f"params.headers has {len(headers)} headers, more than {_MOST_HEADERS}")
    for name, value in headers.items():
        lower = name.lower()
        if not is_header_name(name):
            raise Malformed(f"params.headers: {shown(name)} is no header name")
        if lower in _RESERVED_HEADERS:
            raise Malformed(f"params.headers may not set {name}: use {_RESERVED_HEADERS[lower]}")
        if len(name) > 128 or not may_be_set(name):
            raise Malformed(f"params.headers may not set {name}")
        if not isinstance(value, str):
            raise Malformed(f"params.headers: {name} is {kind(value)}, not a string")
        if not is_header_value(value):
            raise Malformed(f"params.headers: the value of {name} has control characters: {shown(value)}")
    return tuple((name, value.strip()) for name, value in headers.items())


def _merged(forwarded: tuple[Header, ...], own: tuple[Header, ...]) -> tuple[Header, ...]:
    if not own:
        return (CONNECTOR, *forwarded)
    names = {name.lower() for name, _ in own}
    ours = (CONNECTOR, *forwarded)
    return (*(each for each in ours if each[0].lower() not in names), *own)

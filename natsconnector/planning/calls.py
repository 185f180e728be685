"""What calls are made of, whichever way their message came. Pure: a refusal is an exception, all else a value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from natsconnector.model.call import FunctionCall, Malformed
from natsconnector.model.headers import Header, forwarded, is_header_value
from natsconnector.model.route import METHODS, ROOT, WITHOUT_BODY, Route, path_fault
from natsconnector.model.subjects import subject_fault

TO_SUBJECT = "nats:"
"""What a callback URL begins with whose result is to be published on the subject that follows."""

CONNECTOR = ("X-Connector", "natsconnector")

# One name for a DNS label or two joined by the dot that separates function and namespace; no character of it needs
# quoting in a URL path, and none can climb out of /function/.
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,256}")
_URL = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,8192}", re.ASCII)  # RFC 3986, 2


class RawMessage:
    """
    A message whose payload is the body: what its calls, on a topic one for each function that wants it, have in common.

    A message header ``X-Callback-Url`` makes them asynchronous, one ``Content-Type`` counts before all others.

    :raises Malformed: either of these headers, or the subject, is not fit to be sent.
    """

    __slots__ = ("_callback_url", "_content_type", "_headers", "_payload")

    def __init__(self, subject: str, payload: bytes, headers: Iterable[Header]) -> None:
        if not is_header_value(subject):
            raise Malformed(f"the subject is not a valid value of the header X-Topic: {shown(subject)}")
        by_name = {name.lower(): value for name, value in headers}
        self._content_type = by_name.get("content-type")
        if self._content_type is not None and not is_header_value(self._content_type):
            raise Malformed(f"the header Content-Type is not a header value: {shown(self._content_type)}")
        self._callback_url = callback_url(by_name.get("x-callback-url"), "the header X-Callback-Url")
        self._headers = (("X-Topic", subject), CONNECTOR, *forwarded(headers))
        self._payload = payload

    def call(
        self,
        function: str,
        *,
        call_id: str,
        queued: bool,
        timeout_s: float | None,
        content_type: str | None,
        route: Route = ROOT,
    ) -> FunctionCall:
        """
        The call of one function with the raw payload.

        :param content_type: unless the message says otherwise.
        :raises Malformed: the route's method does not fit the rest.
        """
        call = FunctionCall(
            function,
            self._payload,
            self._content_type or content_type,
            self._headers,
            self._callback_url,
            call_id,
            queued,
            timeout_s,
            route,
        )
        if route is not ROOT:
            check_route(call)
        return call


def asked_of_call(headers: Iterable[Header]) -> tuple[str | None, Route]:
    """
    What a message's headers ask of its call: the publisher's own call id (``X-Call-Id``), None when there is none, and
    the route (``Function-Method``, ``Function-Path``).

    :raises Malformed: one of them cannot go into an HTTP request, or could lead out of the function.
    """
    call_id: str | None = None
    route = ROOT
    for name, value in headers:
        lower = name.lower()
        if lower == "x-call-id":
            if not _VISIBLE_ASCII.fullmatch(value):
                raise Malformed(f"the header X-Call-Id is not 1 to 256 visible ASCII characters: {shown(value)}")
            call_id = call_id or value
        elif lower == "function-path":
            if (fault := path_fault(value)) is not None:
                raise Malformed(f"the header Function-Path {fault}: {shown(value)}")
            route = Route(route.method, value)
        elif lower == "function-method":
            if value not in METHODS:
                raise Malformed(f"the header Function-Method is none of {', '.join(METHODS)}: {shown(value)}")
            route = Route(value, route.path)
    return call_id, route


def check_route(call: FunctionCall) -> None:
    """:raises Malformed: the method does not fit the rest of the call."""
    method = call.route.method
    if call.asynchronous and method != "POST":
        raise Malformed(f"the header Function-Method is {method}, and an asynchronous call is a POST")
    if call.body and method in WITHOUT_BODY:
        raise Malformed(f"the header Function-Method is {method}, which has no body, and the message has one")


def function_name(name: str) -> str:
    """
    A function's name as a message gives it, ``NAME`` or ``NAME.NAMESPACE``.

    :raises Malformed: it is none.
    """
    if not _FUNCTION_NAME.fullmatch(name) or ".." in name:
        raise Malformed(
            f"function {shown(name)} is no function name: letters, digits, '_', '-' and single dots,"
            " a letter or digit at both ends"
        )
    return name


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

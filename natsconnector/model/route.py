"""The part of a request that is the function's own: its method, and the path below the function. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WITHOUT_BODY = frozenset(("GET", "HEAD", "DELETE"))
"""Methods whose requests have no body: one that had could be read as two requests (RFC 9110, 9.3.1)."""

_LONGEST = 2048
_CHARACTER = r"[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}"  # RFC 3986, 3.3: pchar
_FORM = re.compile(rf"(?P<path>(?:/(?:{_CHARACTER})*)*)(?:\?(?:{_CHARACTER}|[/?])*)?")
# `#`, `%`, `.`, `/`, `?` and `\`, each of which means another path to whoever decodes once more than the last reader:
# the gateway decodes a path, and writes and decodes the result again.
_ENCODED = re.compile(r"%(?:2[35EFef]|3[Ff]|5[Cc])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Route(NamedTuple):
    """How a function is called: by which method, and at which path below its own."""

    method: str = "POST"
    path: str = ""
    """Path and query, encoded as in a URL; empty for the function itself."""


ROOT = Route()
"""The one that calls have unless they say otherwise."""


def path_fault(path: str) -> str | None:
    """Why a text is no path, with a query or without, that stays below a function; None when it is one."""
    if len(path) > _LONGEST:
        return f"has more than {_LONGEST} characters"
    found = _FORM.fullmatch(path)
    if not path or found is None:
        return "is not a path like /a/b?c=d: it begins with / or ?, and has no characters but those of RFC 3986"
    below = found["path"]
    if "//" in below:
        return "has // in it"
    if ".." in below or "." in below.split("/"):
        return "has dots that lead out of the function"
    if _ENCODED.search(below):
        return "has an encoded #, %, ., /, ? or \\ in it, which another path could be made of"
    try:
        text = unquote_to_bytes(below).decode()
    except UnicodeDecodeError:
        return "is not UTF-8 where it is encoded"
    return "has an encoded control character in it" if _CONTROL.search(text) else None

"""Texts of others, made fit for a terminal and a log line. Pure."""

from __future__ import annotations

import re

# What a terminal acts on, what ends a line, what makes text run backwards or hides it, and what has no encoding.
_NOT_SHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def shown(text: str) -> str:
    """``text`` with such characters written as escapes; tabs and line feeds stay."""
    return _NOT_SHOWN.sub(lambda found: ascii(found[0])[1:-1], text)

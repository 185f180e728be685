"""The help text of the command line, grouped by theme."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from natsconnector.config.flags import Flag

_INDENT = 6
_INTRODUCTION = (
    "Calls OpenFaaS functions for messages on NATS. A flag --max-inflight is also NATSCONNECTOR_MAX_INFLIGHT in the"
    " environment, and so with all of them. A flag counts before the environment, NATSCONNECTOR_* before the other"
    " names that are given here; an empty value counts as unset, none turns off what can be off. A list that is given"
    " several times adds up. D is a duration: 250ms, 30s, 1m30s; B a size: 65536, 64KiB, 8MiB; N a number; F a file."
)


def help_text(flags: Iterable[Flag], width: int = 100) -> str:
    """What ``--help`` prints below the synopsis."""
    lines = [textwrap.fill(_INTRODUCTION, width)]
    group = ""
    for flag in flags:
        if flag.group != group:
            group = flag.group
            lines += ["", f"{group}:"]
        lines.append(f"  {flag.usage}")
        lines += textwrap.wrap(
            flag.help_text,
            width,
            initial_indent=" " * _INDENT,
            subsequent_indent=" " * _INDENT,
            break_on_hyphens=False,
            break_long_words=False,
        )
    lines += ["", "  --help", "      show this text", "  --version", "      show the version"]
    return "\n".join(lines) + "\n"

"""What the Helm chart repeats from the code: settings, their schema, and the alerts. ``docs.reference`` writes it."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from natsconnector.config import files, values
from natsconnector.config.flags import EMBEDDED, Flag
from natsconnector.config.settings import FLAGS

ROOT = Path(__file__).parent.parent
CHART = ROOT / "deployment" / "helm" / "natsconnector"

# What the chart sets, because a pod beside OpenFaaS needs it otherwise than a process on somebody's machine.
DEFAULTS = {
    "nats": "nats://nats.openfaas:4222",
    "gateway": "http://gateway.openfaas:8080",
    "log-format": "json",
    "admin": "tcp:8081",
}
# The values of the chart of openfaas/nats-connector that are settings: variables of the same names.
OFFICIAL = (
    "asynchronous_invocation", "broker_host", "gateway_url", "print_response", "print_response_body",
    "rebuild_interval", "topic_delimiter", "topics", "upstream_timeout",
)  # fmt: skip
_DURATION = r"^(\d+(\.\d+)?(ns|us|ms|s|m|h))+$"
_SIZE = r"^\d+([KMG]iB)?$"


def chart_flags() -> list[Flag]:
    """The settings of the chart: all but those that start servers for trying things out."""
    return [flag for flag in FLAGS if flag.group != EMBEDDED]


def value_name(flag: Flag) -> str:
    """``--max-inflight`` as charts write it: ``maxInflight``."""
    return re.sub(r"-(\w)", lambda found: found[1].upper(), flag.name)


def kind(flag: Flag) -> str:
    """How a secret gets to a setting: as a ``file``, as a ``folder`` of files, or as the ``value`` itself."""
    if flag.parse is files.gateway_credentials:
        return "folder"
    return "file" if flag.is_file else "value"


def official_name(flag: Flag) -> str:
    """What the official chart calls it; empty if it does not."""
    return next((alias.name for alias in flag.aliases if alias.name in OFFICIAL), "")


def table() -> list[dict[str, str]]:
    """What the templates know about each setting."""
    return [
        {
            "name": value_name(flag),
            "flag": flag.name,
            "variable": flag.environment_name,
            "kind": kind(flag),
            "official": official_name(flag),
        }
        for flag in chart_flags()
    ]


def settings_values() -> str:
    """The settings in the chart's values, those that the chart leaves alone as comments."""
    lines: list[str] = []
    group = ""
    for flag in chart_flags():
        if flag.in_environment_only:
            continue
        if flag.group != group:
            group = flag.group
            lines += ["", f"  # --- {group} ---"]
        defaults = "; ".join(f"{when}{value}" for when, value in flag.defaults[1:])
        words = flag.meaning + (f"; the default {defaults}" if defaults else "")
        lines += textwrap.wrap(words, 118, initial_indent="  # ", subsequent_indent="  # ")
        is_set = flag.name in DEFAULTS
        default = DEFAULTS[flag.name] if is_set else flag.defaults[0][1]
        lines.append(f"  {'' if is_set else '# '}{value_name(flag)}: {_scalar(flag, default)}")
    return "\n".join(lines[1:]) + "\n"


def _scalar(flag: Flag, text: str) -> str:
    """A default as YAML."""
    if flag.is_switch:
        return "false"
    is_plain = re.fullmatch(r"[A-Za-z][\w.:/>-]*|\d+[A-Za-z]+", text) or hasattr(flag.parse, "bounds")
    return text if is_plain else json.dumps(text)


def settings_schema() -> dict[str, Any]:
    """The JSON schema of the chart's ``settings``."""
    named = {value_name(flag): _schema(flag) for flag in chart_flags() if not flag.in_environment_only}
    return {"type": "object", "additionalProperties": False, "properties": named}


def secrets_schema() -> dict[str, Any]:
    """The JSON schema of the chart's ``secrets``."""
    named = {
        value_name(flag): {"$ref": f"#/$defs/{'secret' if kind(flag) == 'folder' else 'secretKey'}"}
        for flag in chart_flags()
        if not flag.is_switch
    }
    return {"type": "object", "additionalProperties": False, "properties": named}


def _schema(flag: Flag) -> dict[str, Any]:
    parse = flag.parse
    found: dict[str, Any] = {"type": "string", "minLength": 1}
    if flag.is_switch:
        found = {"type": "boolean"}
    elif flag.is_list:
        found = {
            "type": ["string", "array"], "minLength": 1, "minItems": 1, "items": {"type": ["string", "integer"]},
        }  # fmt: skip
    elif hasattr(parse, "bounds"):
        least, most = parse.bounds
        found = {"type": "integer", "minimum": least, "maximum": most}
        if hasattr(parse, "words"):
            found = {"anyOf": [found, {"enum": list(parse.words)}]}
    elif hasattr(parse, "words"):
        found = {"enum": list(parse.words)}
    elif parse is values.duration:
        found = {"type": "string", "pattern": _DURATION}
    elif parse is values.size:
        found = {"type": ["integer", "string"], "minimum": 1, "pattern": _SIZE}
    is_free = found == {"type": "string", "minLength": 1} or flag.is_list
    if flag.can_be_off and not flag.is_switch and not is_free:
        found = {"anyOf": [found, {"const": "none"}]}
    return {"description": flag.meaning, **found}


def official_schema() -> dict[str, Any]:
    """The JSON schema of the official chart's values that are settings."""
    return {
        name: {"type": ["string", "boolean"], "description": f"As settings.{value_name(flag)}, which it overrides."}
        for flag in chart_flags()
        if (name := official_name(flag))
    }


def values_schema(document: str) -> str:
    """A schema of the chart's values with the parts in it that come from the code; the others stay as they are."""
    schema = json.loads(document)
    schema["properties"] |= {"settings": settings_schema(), "secrets": secrets_schema(), **official_schema()}
    return json.dumps(schema, indent=2) + "\n"


def rules() -> str:
    """The alerts, of which a chart has to have a copy, since it can only read what is in its folder."""
    source = "deployment/prometheus/rules.yml"
    return f"# A copy of {source}, written by `make docs`.\n{(ROOT / source).read_text()}"

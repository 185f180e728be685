"""Reads functions from an OpenFaaS stack file (``stack.yml``)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from natsconnector.local.processes import DEFAULT_NAMESPACE, Function

# Without dots: a dot separates a function's name from its namespace.
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?")
_VARIABLE = re.compile(r"[^=\0]+")


class StackError(Exception):
    """A stack file that cannot be used: every fault found, one a line, each with the file and the function."""

    def __init__(self, path: str | os.PathLike[str], faults: list[str]) -> None:
        super().__init__("\n".join(f"{os.fspath(path)}: {fault}" for fault in faults))
        self.faults = faults


def read_stack(path: str | os.PathLike[str]) -> dict[str, Function]:
    """
    The functions of a stack file, by name.

    Of a function it reads ``fprocess``, which it must have, ``namespace``, ``annotations``, ``labels``,
    ``environment`` and ``image``; other keys of the format are for building and deploying, and are left alone.

    :param path: of the file. The commands of its functions run in its folder.
    :raises StackError: the file cannot be read, is not YAML, or declares a function wrongly.
    """
    try:
        stack = yaml.safe_load(Path(path).read_bytes())
    except OSError as error:
        raise StackError(path, [error.strerror or str(error)]) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise StackError(path, [f"not YAML: {' '.join(str(error).split())}"]) from error
    declared = stack.get("functions") if isinstance(stack, dict) else None
    if not isinstance(declared, dict):
        raise StackError(path, ["has no mapping 'functions'"])
    functions, faults = {}, []
    for name, declaration in declared.items():
        try:
            functions[name] = _function(name, declaration, os.path.dirname(os.path.abspath(path)))
        except ValueError as error:
            faults.append(f"function {name!r}: {error}")
    if faults:
        raise StackError(path, faults)
    return functions


def _function(name: Any, declaration: Any, directory: str) -> Function:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("the name must be letters, digits, '-' or '_', and begin and end with a letter or digit")
    if not isinstance(declaration, dict):
        raise ValueError("must be a mapping")
    if "fprocess" not in declaration:
        raise ValueError("has no 'fprocess': the command that answers")
    function = Function(
        name=name,
        fprocess=_text(declaration, "fprocess"),
        namespace=_text(declaration, "namespace") or DEFAULT_NAMESPACE,
        annotations=_texts(declaration, "annotations"),
        labels=_texts(declaration, "labels"),
        environment=_texts(declaration, "environment"),
        image=_text(declaration, "image"),
        directory=directory,
    )
    if not _NAME.fullmatch(function.namespace):
        raise ValueError(f"'namespace': not a name: {function.namespace!r}")
    for variable, value in function.environment.items():
        if not _VARIABLE.fullmatch(variable) or "\0" in value:
            raise ValueError(f"'environment': not a variable: {variable!r}")
    try:
        function.command()
    except ValueError as error:
        raise ValueError(f"'fprocess': {error}") from error
    return function


def _text(declaration: dict[Any, Any], key: str) -> str:
    value = declaration.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key!r} must be text")
    return value or ""


def _texts(declaration: dict[Any, Any], key: str) -> dict[str, str]:
    """A mapping of text to text. As in OpenFaaS, numbers and booleans need no quotes."""
    mapping = declaration.get(key)
    if mapping is None:
        return {}
    if not isinstance(mapping, dict):
        raise ValueError(f"{key!r} must be a mapping")
    texts = {}
    for name, value in mapping.items():
        if not isinstance(name, str) or not isinstance(value, (str, int, float)):
            raise ValueError(f"{key!r}: {name!r} must be text")
        texts[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return texts

"""The events of the log, read from the code: their levels, the parts that write them, and their fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from natsconnector.config.logs import part_of

ROOT = Path(__file__).parent.parent / "natsconnector"
_LEVELS = {"debug", "info", "warn", "error", "critical", "failure"}
# What is not shown as a field: the event has a place of its own, and a failure is shown as its traceback.
_NO_FIELDS = {"event", "failure"}
_COUNTED = {"count", "window_s"}


@dataclass
class Event:
    """What the code says of one event, all lines of that name together."""

    levels: set[str] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)


class NoEvent(Exception):
    """A line of the log has no event, or fields that cannot be told from the code."""


@cache
def events() -> dict[str, Event]:
    """
    All events, by name.

    :raises NoEvent: some line has none.
    """
    found: dict[str, Event] = {}
    trees = {path: ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}
    functions: dict[str, ast.AST] = {}
    for tree in trees.values():
        functions |= {each.name: each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
    for path, tree in trees.items():
        part = part_of(".".join(("natsconnector", *path.relative_to(ROOT).with_suffix("").parts)))
        for function in _outermost(tree):
            for call in _lines(function):
                where = f"{path.relative_to(ROOT)}:{call.lineno}"
                for name, levels, fields in _read(call, function, functions, where):
                    event = found.setdefault(name, Event())
                    event.levels |= levels
                    event.parts.add(part)
                    event.fields |= fields
    return found


def _outermost(node: ast.AST) -> Iterator[ast.AST]:
    """Functions and methods, but not those inside of others."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield child
        else:
            yield from _outermost(child)


def _lines(function: ast.AST) -> Iterator[ast.Call]:
    """The calls that write a line: those of a logger, and of the journal's two methods with an event of their own."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_logger = node.func.attr in _LEVELS and ast.unparse(node.func.value).endswith("_log")
            is_journal = node.func.attr in ("_tell", "_repeated") and len(node.args) > 2
            if is_logger or (is_journal and _named_levels(node.args[0], function)):
                yield node


def _read(
    call: ast.Call, function: ast.AST, functions: dict[str, ast.AST], where: str
) -> Iterator[tuple[str, set[str], set[str]]]:
    """Name, levels and fields of the events that a call writes."""
    assert isinstance(call.func, ast.Attribute)
    method, fields = call.func.attr, set()
    for keyword in call.keywords:
        fields |= {keyword.arg} if keyword.arg is not None else _spread(keyword.value, function, functions, where)
    if method in ("_tell", "_repeated"):
        name, levels = call.args[1], _named_levels(call.args[0], function)
    else:
        name = next((keyword.value for keyword in call.keywords if keyword.arg == "event"), call)
        levels = {"critical" if method == "failure" else method}
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        raise NoEvent(f"{where}: a line without an event: {ast.unparse(call)}")
    yield name.value, levels, fields - _NO_FIELDS
    if method == "_repeated":
        yield f"{name.value}_again", levels, (fields - _NO_FIELDS) | _COUNTED


def _named_levels(node: ast.expr, function: ast.AST) -> set[str]:
    """``LogLevel.info``, or a variable that is set to one or another."""
    values = _set_to(node.id, function) if isinstance(node, ast.Name) else [node]
    return {
        each.attr
        for value in values
        for each in ast.walk(value)
        if isinstance(each, ast.Attribute) and ast.unparse(each.value) == "LogLevel"
    }


def _spread(node: ast.AST, function: ast.AST, functions: dict[str, ast.AST], where: str) -> set[str]:
    """The keys of ``**`` something: a dictionary that is written out, in a variable or returned by a function."""
    if isinstance(node, ast.Dict):
        return {str(key.value) for key in node.keys if isinstance(key, ast.Constant)}
    if isinstance(node, ast.Name):
        values = _set_to(node.id, function)
        keys = {
            str(each.slice.value)
            for each in ast.walk(function)
            if isinstance(each, ast.Subscript)
            and isinstance(each.ctx, ast.Store)
            and ast.unparse(each.value) == node.id
            and isinstance(each.slice, ast.Constant)
        }
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
        made_by = functions[node.func.id]
        values = [each.value for each in ast.walk(made_by) if isinstance(each, ast.Return) and each.value is not None]
        keys = set()
    else:
        values, keys = [], set()
    if not values:
        raise NoEvent(f"{where}: cannot tell the fields of {ast.unparse(node)}")
    return keys.union(*(_spread(value, function, functions, where) for value in values))


def _set_to(name: str, function: ast.AST) -> list[ast.expr]:
    """What a variable of a function is set to."""
    found = []
    for node in ast.walk(function):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            found += [node.value for target in targets if isinstance(target, ast.Name) and target.id == name]
    return found

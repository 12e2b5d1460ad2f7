"""What is told of the tools of a session: nobody captured their schemas, so these are inferred, and say so. Pure.

A schema permits what was seen and everything else: no member is required, and a member has a type only where all its
values had the same one. Names and members are sorted, so that the same calls make the same schemas.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from central_command.exporting.conversation import Call
from central_command.exporting.shape import Row

_TYPES: Final[dict[type, str]] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
}


def inferred_functions(calls: Iterable[Call]) -> list[Row]:
    """A function for each tool that was called: `name`, `description`, `parameters` (JSON Schema); sorted by name."""
    seen: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for call in calls:
        members = seen[call.name]
        for name, value in call.arguments.items():
            members[name].add(_TYPES.get(type(value), ""))
    return [
        {"name": name, "description": "", "parameters": _parameters(members)} for name, members in sorted(seen.items())
    ]


def inferred_tools(calls: Iterable[Call]) -> list[Row]:
    """The same, each as a tool of OpenAI's form."""
    return [{"type": "function", "function": function} for function in inferred_functions(calls)]


def _parameters(members: dict[str, set[str]]) -> Row:
    properties: dict[str, Row] = {name: _member(kinds) for name, kinds in sorted(members.items())}
    return {"type": "object", "properties": properties, "required": []}


def _member(kinds: set[str]) -> Row:
    """The schema of a member; null says nothing of the type, and an integer is a number, too."""
    known = kinds - {""}
    if known == {"integer", "number"}:
        known = {"number"}
    return {"type": known.pop()} if len(known) == 1 else {}

"""The body of a step as HTML: what people and agents say as Markdown, calls by what their tools do, results as text."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
from markupsafe import Markup

from central_command.markup.ansi import coloured, uncoloured
from central_command.markup.code import highlighted, language_of
from central_command.markup.diffs import Comparing, Line, patch, shown_lines
from central_command.markup.folding import folded, members
from central_command.markup.markdown import marked_down
from central_command.markup.visible import plain

RICH_CHARS_MAX: Final = 131_072
"""Characters of one page that are more than plain text; guards time. What comes behind them is plain."""

JSON_CHARS_MAX: Final = 65_536
PATHS: Final = ("file_path", "path", "filename", "filePath", "notebook_path", "target_file")
COMMANDS: Final = ("command", "cmd", "script")
OLD: Final = ("old_string", "old_str", "oldString")
NEW: Final = ("new_string", "new_str", "newString", "new_source")
WHOLE: Final = ("content", "file_text", "contents")
PATCHES: Final = ("patch", "input", "diff")
PATCH_STARTS: Final = ("*** Begin Patch", "--- ", "diff --git ", "@@ ")
WRITERS: Final = frozenset(
    {"write", "write_file", "create", "create_file", "str_replace_editor", "str_replace_based_edit_tool"}
)

_RESULTS: Final = frozenset({"observation", "error"})


class StepText(msgspec.Struct, frozen=True, kw_only=True):
    """What of a step is shown: `arguments` of a call as they are, or their JSON text where that is too long."""

    type: str
    text: str = ""
    tool: str = ""
    arguments: Any = None


class Renderer:
    """Makes the bodies of the steps of one page, in their order."""

    def __init__(self, rich_chars_max: int = RICH_CHARS_MAX) -> None:
        self._left = rich_chars_max
        self._comparing = Comparing()

    def __repr__(self) -> str:
        return f"<Renderer left={self._left}>"

    def body(self, step: StepText) -> Markup:
        """The body of a step."""
        if step.type in _RESULTS:
            return self._result(step.text)
        if step.tool or step.arguments is not None:
            return self._call(step)
        return self._rich(step.text, marked_down)

    def _rich(self, text: str, way: Callable[[str], Markup]) -> Markup:
        """A text in its way, as long as there may be more of that."""
        if not text:
            return Markup()
        self._left -= len(text)
        return way(text) if self._left >= 0 else _as_it_is(text)

    def _result(self, text: str) -> Markup:
        value = _json_of(text)
        if value is not None:
            return self._rich(text, lambda _: folded(value))
        return self._rich(text, lambda said: Markup('<pre class="text">{}</pre>').format(coloured(said)))

    def _call(self, step: StepText) -> Markup:
        parts = [] if _is_label(step) else [self._rich(step.text, marked_down)]
        arguments = step.arguments
        if isinstance(arguments, Mapping):
            parts += self._arguments(step.tool, arguments)
        elif isinstance(arguments, str):
            parts.append(self._rich(arguments, _argument_text))
        elif arguments is not None:
            parts.append(folded(arguments))
        return Markup("").join(parts)

    def _arguments(self, tool: str, arguments: Mapping[str, Any]) -> Iterator[Markup]:
        """The arguments that a tool of a known kind takes in its way, and all others as JSON."""
        rest = dict(arguments)
        path = _taken(rest, PATHS)
        if path:
            yield Markup('<p class="path"><code>{}</code></p>').format(plain(path))
        lines = _changes(tool, rest, self._comparing)
        if lines:
            self._left -= sum(len(line.text) for line in lines)
            yield shown_lines(lines)
        for name in COMMANDS:
            command = _command(rest.get(name))
            if command and not (lines and name == "command"):
                del rest[name]
                yield self._rich(command, lambda text: _code(text, "bash"))
        if isinstance(rest.get("code"), str):
            language = str(rest.get("language") or "") or language_of(path) or "python"
            yield self._rich(rest.pop("code"), lambda text: _code(text, language))
        if rest:
            self._left -= len(str(rest)) if self._left > 0 else 0
            yield members(rest)


def _changes(tool: str, rest: dict[str, Any], comparing: Comparing) -> list[Line]:
    """What a call changes in a file, its arguments taken out of the rest."""
    edits = rest.get("edits")
    if isinstance(edits, list) and edits and all(isinstance(each, dict) for each in edits):
        found = list[Line]()
        for number, edit in enumerate(edits, start=1):
            change = _replaced(dict(edit), comparing)
            if not change:
                return []
            found += [Line("place", f"@@ {number} of {len(edits)} @@"), *change]
        del rest["edits"]
        return found
    found = _replaced(rest, comparing)
    if found:
        return found
    for name in PATCHES:
        text = rest.get(name)
        if isinstance(text, str) and text.lstrip().startswith(PATCH_STARTS):
            del rest[name]
            return patch(text)
    command = rest.get("command")
    if isinstance(command, list) and len(command) == 2 and command[0] == "apply_patch" and isinstance(command[1], str):
        del rest["command"]
        return patch(command[1])
    if tool.lower().rpartition(".")[2] in WRITERS:
        text = _taken(rest, WHOLE)
        return comparing.difference("", text) if text else []
    return []


def _replaced(rest: dict[str, Any], comparing: Comparing) -> list[Line]:
    """The old text and the new one, both of which a call names; of an insertion, the new one alone."""
    names = [next((name for name in known if isinstance(rest.get(name), str)), None) for known in (OLD, NEW)]
    old, new = names
    if new is None or (old is None and new not in {"new_str", "new_source"}):
        return []
    return comparing.difference("" if old is None else rest.pop(old), rest.pop(new))


def _taken(rest: dict[str, Any], names: tuple[str, ...]) -> str:
    """The first of these that is a text, taken out."""
    for name in names:
        if isinstance(rest.get(name), str):
            return str(rest.pop(name))
    return ""


def _command(value: object) -> str:
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return value[-1] if len(value) == 3 and value[1] in {"-c", "-lc"} else " ".join(value)
    return value if isinstance(value, str) else ""


def _code(text: str, language: str) -> Markup:
    return Markup('<pre class="code"><code>{}</code></pre>').format(highlighted(text, language))


def _argument_text(text: str) -> Markup:
    if text.lstrip().startswith(PATCH_STARTS):
        return shown_lines(patch(text))
    return _as_it_is(text)


def _as_it_is(text: str) -> Markup:
    return Markup('<pre class="text">{}</pre>').format(plain(uncoloured(text)))


def _json_of(text: str) -> dict[str, Any] | list[Any] | None:
    """The object or array that a text is."""
    begins = text.lstrip()[:1]
    if begins not in {"{", "["} or len(text) > JSON_CHARS_MAX:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) and value else None


def _is_label(step: StepText) -> bool:
    """Whether a call's text only repeats its tool: clients of the contract label calls so."""
    said = step.text.strip().rstrip(".:")
    return said in {"", step.tool, f"Using {step.tool}", f"Calling {step.tool}"}

"""Which files a tool's call changes when it goes well, for every agent whose sessions are read.

| agent | tool | files |
|---|---|---|
| Claude Code | `Edit`, `MultiEdit`, `Write`, `NotebookEdit` | `file_path`, `notebook_path` |
| Codex | `apply_patch`, and a shell or program that calls it | those of the patch: added, updated, deleted |
| Codex | `file_change` of `exec --json` | those of its `changes` |
| Gemini CLI, Qwen Code, iFlow | `replace`, `edit`, `multi_edit`, `write_file` | `file_path` |
| Qwen Code | `notebook_edit` | `notebook_path` |
| Cursor | `edit`, `write`, `delete` | `path` |
| OpenCode | `edit`, `multiedit`, `write`; `patch` | `filePath`; those of the patch |
| GitHub Copilot | `edit`, `create`; `str_replace_editor` but to view | `path` |
| Kimi | `WriteFile`, `StrReplaceFile`, `Edit`, `Write` | `path` |
| goose | `developer__text_editor` but to view; `developer__edit`, `developer__write` | `path` |
| Droid | `Edit`, `Create`, `MultiEdit`; `ApplyPatch` | `file_path`; those of the patch |
| Amp | `edit_file`, `create_file` | `path` |
| Cline | `write_to_file`, `replace_in_file` | `path` |

What a shell does to files in other ways cannot be told from its command. A moved file is the one it was.
"""

import posixpath
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from central_command.client.contract.steps import JsonObject

_EDITORS = frozenset(
    {
        *("Edit", "MultiEdit", "Write", "NotebookEdit", "Create", "replace", "write_file", "edit", "write", "delete"),
        *("multiedit", "multi_edit", "notebook_edit", "developer__edit", "developer__write"),
        *("create", "WriteFile", "StrReplaceFile", "edit_file", "create_file", "write_to_file", "replace_in_file"),
    }
)
_COMMANDED_EDITORS = frozenset({"developer__text_editor", "str_replace_editor"})
"""Editors whose `command` says what they do."""
_READING_COMMANDS = frozenset({"view", "undo_edit"})
_PATH_MEMBERS = ("file_path", "notebook_path", "absolute_path", "filePath", "path")
_PATCHERS = frozenset({"apply_patch", "file_change", "ApplyPatch", "patch"})
_SHELLS = frozenset(
    {
        *("shell", "shell_command", "local_shell", "container.exec", "exec_command", "command_execution"),
        *("exec", "unified_exec", "bash", "run_command"),
    }
)
_DIRECTORY_MEMBERS = ("workdir", "working_directory", "cwd")
_CALLS_PATCH = re.compile(r"\b(?:apply_patch|applypatch)\b")
_PATCH_BEGINS = "*** Begin Patch"
# Lines of a patch's own content begin with `+`, `-` or a space.
_PATCHED = re.compile(r"^\*\*\* (?:Add|Update|Delete) File: (.+)$", re.MULTILINE)
_QUOTED = re.compile(r"""["'`]\*\*\* (?:Add|Update|Delete) File: ([^"'`\r\n\\]+)""")
"""A patch that a program puts together of its lines."""


def changed_files(tool: str, arguments: JsonObject) -> frozenset[str]:
    """The files that a call changes when it goes well; none for a call that changes none, or does not say which."""
    name = tool.rsplit(".", 1)[-1] if tool.startswith("functions.") else tool
    found: Iterator[str] = iter(())
    is_commanded = name in _COMMANDED_EDITORS and arguments.get("command") not in _READING_COMMANDS
    if name in _EDITORS or is_commanded:
        paths = (arguments.get(member) for member in _PATH_MEMBERS)
        found = iter([next((path for path in paths if isinstance(path, str) and path), "")])
    elif name in _PATCHERS:
        found = _of_changes(arguments.get("changes")) if "changes" in arguments else _of_patch(_texts(arguments))
    elif name in _SHELLS:
        text = _texts(arguments)
        found = _of_patch(text) if _PATCH_BEGINS in text and _CALLS_PATCH.search(text) else found
    directory = next((value for name in _DIRECTORY_MEMBERS if isinstance(value := arguments.get(name), str)), "")
    return frozenset(posixpath.normpath(posixpath.join(directory, path)) for path in found if path)


def count_files(paths: AbstractSet[str]) -> int:
    """How many files these are, where a relative path is the same as an absolute one that ends so."""
    relative = {path for path in paths if not path.startswith("/")}
    for path in paths - relative:
        at = path.find("/")
        while relative and at >= 0:
            relative.discard(path[at + 1 :])
            at = path.find("/", at + 1)
    return len(relative) + sum(path.startswith("/") for path in paths)


def _of_changes(changes: object) -> Iterator[str]:
    """A list of objects with `path`, or an object with paths as names."""
    if isinstance(changes, dict):
        yield from changes
    for each in changes if isinstance(changes, list) else ():
        if isinstance(each, dict) and isinstance(path := each.get("path"), str):
            yield path


def _of_patch(text: str) -> Iterator[str]:
    if f"{_PATCH_BEGINS}\\n" in text:  # in the text of a program, which writes its line breaks so
        text = text.replace("\\n", "\n")
    found = [match[1].strip() for match in _PATCHED.finditer(text)]
    return iter(found or [match[1].strip() for match in _QUOTED.finditer(text)])


def _texts(value: object) -> str:
    """All the text in a call's arguments, a line each, however it is nested."""
    found: list[str] = []
    waiting: list[object] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, dict):
            waiting.extend(reversed(each.values()))
        elif isinstance(each, list):
            waiting.extend(reversed(each))
    return "\n".join(found)

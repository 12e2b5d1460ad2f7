"""What calls change: which file, of which kind, and which lines come and go. Every agent names these differently."""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

import msgspec

TEXT_CHARS_MAX: Final = 4_000
"""Characters of an edit's texts that are looked at, each."""
EDITS_MAX: Final = 100
"""Edits of one call that are looked at."""

_PATHS: Final = ("file_path", "path", "filePath", "absolute_path", "notebook_path", "target_file", "filename", "file")
_OLD: Final = ("old_string", "old_str", "oldString", "old", "oldText", "old_text")
_NEW: Final = (
    *("new_string", "new_str", "newString", "new", "newText", "new_text"),
    *("content", "file_text", "fileText", "contents", "text", "code_edit", "new_source"),
)
_PATCHES: Final = ("input", "patch", "diff", "patch_text", "patchText", "command", "cmd")
_PATCHED_FILE = re.compile(r"^\*\*\* (Add|Update|Delete) File: (.{1,500})$", re.MULTILINE)


class FileKind(StrEnum):
    """What a file is, by its path."""

    CODE = "code"
    TEST = "test"
    DOCUMENT = "document"
    PLAN = "plan"
    OPERATION = "operation"


_KINDS: Final = (
    (
        FileKind.PLAN,
        re.compile(
            r"(?:\A|/)(?:[a-z0-9_-]{0,40}[_-])?(?:plan|roadmap|todo|proposal|rfc)s?(?:[_-][a-z0-9_-]{0,40})?"
            r"\.(?:md|txt|rst)\Z|/plans?/"
        ),
    ),
    (
        FileKind.TEST,
        re.compile(
            r"(?:\A|/)(?:tests?|specs?|__tests__|testing|e2e|cypress)/|(?:\A|/)(?:test_|conftest\.)[^/]{0,200}\Z"
            r"|[._-](?:test|spec|tests)\.[a-z]{1,5}\Z|tests?\.(?:java|kt|cs|swift|scala)\Z"
        ),
    ),
    (
        FileKind.OPERATION,
        re.compile(
            r"(?:\A|/)(?:dockerfile|jenkinsfile|procfile|vagrantfile|docker-compose|compose\.ya?ml|\.gitlab-ci)"
            r"|(?:\A|/)nginx\.conf|\.(?:tf|tfvars|hcl|service|timer)\Z|(?:\A|/)(?:\.github/workflows|\.circleci|k8s"
            r"|kubernetes|helm|charts|deploy|deployment|ansible|terraform|infra|manifests|playbooks)/"
        ),
    ),
    (
        FileKind.DOCUMENT,
        re.compile(
            r"\.(?:md|mdx|rst|adoc|txt|tex)\Z|(?:\A|/)(?:docs?|documentation|man)/"
            r"|(?:\A|/)(?:readme|changelog|license|contributing|authors|notice)[^/]{0,20}\Z"
        ),
    ),
)


class Edit(msgspec.Struct, frozen=True, gc=False):
    """One change of one file: the texts that are taken out and put in, each only its first `TEXT_CHARS_MAX`."""

    path: str
    kind: FileKind
    is_new: bool
    removed: str
    added: str


def kind_of(path: str) -> FileKind:
    """What a file is."""
    lowered = path[-400:].replace("\\", "/").lower()
    return next((kind for kind, pattern in _KINDS if pattern.search(lowered)), FileKind.CODE)


def path_of(arguments: Mapping[str, object]) -> str:
    """The file that a call is about, empty when it names none."""
    return _text(arguments, _PATHS)


def edits_of(arguments: Mapping[str, object]) -> Iterator[Edit]:
    """Yield what an editing call changes, at most `EDITS_MAX`; at least one, though nothing may be known of it."""
    path = path_of(arguments)
    patch = next((text for name in _PATCHES if "*** " in (text := _text(arguments, (name,)))), "")
    parts = _list(arguments, "edits")
    changes = _list(arguments, "changes")
    if patch:
        yield from _of_patch(patch)
    elif changes:
        for change in changes:
            yield _edit(_text(change, _PATHS), "", "", is_new=change.get("kind") == "add")
    elif parts:
        for part in parts:
            yield _edit(path, _text(part, _OLD), _text(part, _NEW), is_new=False)
    elif "SEARCH" in (diff := _text(arguments, ("diff",))):
        yield from _of_search_and_replace(path, diff)
    else:
        removed, added = _text(arguments, _OLD), _text(arguments, _NEW)
        yield _edit(path, removed, added, is_new=not removed and bool(added))


def _of_patch(patch: str) -> Iterator[Edit]:
    files = list(_PATCHED_FILE.finditer(patch))[:EDITS_MAX]
    ends = [match.start() for match in files[1:]] + [len(patch)]
    for match, end in zip(files, ends, strict=True):
        lines = patch[match.end() : min(end, match.end() + 2 * TEXT_CHARS_MAX)].split("\n")
        removed = "\n".join(line[1:] for line in lines if line.startswith("-"))
        added = "\n".join(line[1:] for line in lines if line.startswith("+"))
        yield _edit(match[2].strip(), removed, added, is_new=match[1] == "Add")


def _of_search_and_replace(path: str, diff: str) -> Iterator[Edit]:
    """Cline's: blocks between `SEARCH`, a line of `=` and `REPLACE`."""
    for block in diff.split("SEARCH", EDITS_MAX)[1:]:
        removed, _, added = block.partition("=======")
        yield _edit(
            path, removed.strip("\n >"), added.partition(">>>>>>>")[0].partition("+++++++")[0].strip("\n"), is_new=False
        )


def _edit(path: str, removed: str, added: str, *, is_new: bool) -> Edit:
    return Edit(path[-400:], kind_of(path), is_new, removed[:TEXT_CHARS_MAX], added[:TEXT_CHARS_MAX])


def _text(values: Mapping[str, object], names: tuple[str, ...]) -> str:
    return next((value for name in names if isinstance(value := values.get(name), str) and value), "")


def _list(values: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    value = values.get(name)
    return [each for each in value[:EDITS_MAX] if isinstance(each, dict)] if isinstance(value, list) else []

"""The calls of a trajectory: what each does, to which files, and how it ended. What all verdicts are drawn from."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from actors.curation.enrichment.commands import PATCH_MARK, Command, command_line, command_of, written_file
from actors.curation.enrichment.edits import Edit, edits_of, path_of
from actors.curation.enrichment.tools import Activity, activity_of
from actors.curation.stitched import StitchedStep, text_of

CALLS_MAX: Final = 5_000
"""Calls of a trajectory that are looked at, from its beginning; the contract's bound for a session's steps."""
ENDING_CHARS: Final = 4_000
"""Characters at the end of a result that are searched for how it went: that is where programs say so."""

_COMMANDS: Final = ("command", "cmd", "script", "input", "commandLine")
_VIEWING: Final = frozenset({"view", "read", "list"})
CHECKS: Final = frozenset({Command.TEST, Command.BUILD})

_WENT_WRONG = re.compile(
    r"\b[1-9][0-9]{0,6} (?:failed|failures?|errors?|failing)\b|\bFAILED\b|--- FAIL|\bFAIL\b|BUILD FAILURE|npm ERR!"
    r"|Traceback \(most recent call last\)|(?i:exit(?:ed with)?(?: code|code)?:? [1-9])|\berror(?:\[E[0-9]{4}\])?: "
)
_WENT_WELL = re.compile(
    r"\b[0-9]{1,7} (?:passed|passing|tests? passed)\b|\b0 (?:failures|failed|errors)\b|test result: ok|\bPASS\b"
    r"|\bBUILD SUCCESS|(?i:\b(?:build|compil\w{0,10}) (?:succeeded|successful)|built in|all checks passed)"
    r"|\A\s{0,20}ok\b|\nok\b|Compiled successfully|[Nn]o issues found"
)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call: `place` is its step's, from 0; `command` is what a shell was told to do, None for other tools.

    `has_failed` is None when it was never answered. `check_passed` is None for what checks nothing, and where the
    output does not tell.
    """

    place: int
    tool: str
    activity: Activity
    command: Command | None = None
    path: str = ""
    edits: tuple[Edit, ...] = ()
    has_failed: bool | None = None
    check_passed: bool | None = None
    tells_reviewers: bool = False

    @property
    def is_check(self) -> bool:
        """Whether it runs tests, or what else checks the work: a build, a linter."""
        return self.command in CHECKS


def calls_of(steps: Sequence[StitchedStep]) -> tuple[Call, ...]:
    """The calls of a trajectory with their ends, in order."""
    results = _results(steps)
    found: list[Call] = []
    for place, step in enumerate(steps):
        if step.type in {"action", "edit"} and len(found) < CALLS_MAX:
            answer = results.get(place)
            found.append(_call(place, step, None if answer is None else steps[answer]))
    return tuple(found)


def _results(steps: Sequence[StitchedStep]) -> Mapping[int, int]:
    """The place of each call's result, by the call's: the one of the same id, else the next result without an id."""
    by_id: dict[bytes, int] = {}
    waiting: deque[int] = deque()
    found: dict[int, int] = {}
    for place, step in enumerate(steps):
        call_id = bytes(step.call_id)
        if step.type == "action":
            if len(call_id) > 2:
                by_id[call_id] = place
            else:
                waiting.append(place)
        elif step.type in {"observation", "error"}:
            if len(call_id) > 2:
                found.setdefault(by_id.get(call_id, -1), place)
            elif waiting:
                found[waiting.popleft()] = place
    found.pop(-1, None)
    return found


def _call(place: int, step: StitchedStep, result: StitchedStep | None) -> Call:
    tool, arguments = step.tool_name, step.asked
    activity = Activity.EDIT if step.type == "edit" else activity_of(tool)
    line = ""
    command: Command | None = None
    if activity is Activity.SHELL:
        line = next((text for name in _COMMANDS if (text := command_line(arguments.get(name)))), "")
        command = command_of(line)
        activity = _OF_COMMANDS.get(command, activity)
    elif activity is Activity.EDIT and str(arguments.get("command")) in _VIEWING:
        activity = Activity.READ
    edits = tuple(_edits(activity, command, arguments, line))
    has_failed = None if result is None else result.has_failed
    check_passed = None
    if result is not None and command is not None:
        check_passed = _check_passed(command, result)
        has_failed = has_failed or (check_passed is False)
    return Call(
        place=place,
        tool=tool,
        activity=activity,
        command=command,
        path=path_of(arguments),
        edits=edits,
        has_failed=has_failed,
        check_passed=check_passed,
        tells_reviewers="gh pr review" in line or "gh pr comment" in line,
    )


_OF_COMMANDS: Final = {
    Command.EDIT: Activity.EDIT,
    Command.WEB: Activity.WEB,
    Command.SEARCH: Activity.SEARCH,
    Command.READ: Activity.READ,
}


def _edits(activity: Activity, command: Command | None, arguments: Mapping[str, object], line: str) -> Iterator[Edit]:
    if activity is not Activity.EDIT:
        return
    if command is Command.EDIT:
        arguments = {"patch": line} if PATCH_MARK in line else {"path": written_file(line)}
    yield from edits_of(arguments)


def _check_passed(command: Command, result: StitchedStep) -> bool | None:
    """How a run of tests or a build ended; None for any other command."""
    if command not in CHECKS:
        return None
    ending = result.said[-ENDING_CHARS:]
    if result.has_failed or _WENT_WRONG.search(ending):
        return False
    return True if _WENT_WELL.search(ending) else None


def words_of(step: StitchedStep) -> str:
    """What the user says in a step, empty when it is not the user's."""
    if step.type != "instruction" or text_of(step.source) not in {"", "user", "queue"}:
        return ""
    return step.said

"""What a session was for, from the pattern of its calls: points for each target, the most of which win.

Each rule gives points to one target for what was seen, with its code. Shares are of all calls that are known to do
something. The words of the prompt decide only between targets that are within `TIE_SHARE` of the best, and where
nothing was called at all.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from actors.curation.enrichment.calls import Call, words_of
from actors.curation.enrichment.commands import Command
from actors.curation.enrichment.edits import Edit, FileKind
from actors.curation.enrichment.tools import Activity
from actors.curation.enrichment.verdicts import CognitiveTarget, Reason, TargetVerdict
from actors.curation.stitched import StitchedStep

POINTS_MIN: Final = 10.0
"""With less, the calls tell nothing."""
TIE_SHARE: Final = 0.8
"""From this share of the best's points on, the prompt's words may choose another target."""
PROMPTS_MAX: Final = 3
PROMPT_CHARS_MAX: Final = 2_000
REPEATED_MIN: Final = 3
"""Edits that replace the same text by the same: a rename."""

LOOKING: Final = frozenset({Activity.READ, Activity.SEARCH})
_WORDS: Final[Mapping[CognitiveTarget, str]] = {
    "planning": "plan|design|propose|roadmap|break down|approach|architecture|strategy|estimate",
    "exploration": "explain|how does|how do|what does|where is|tour|understand|walk me through|overview|find where",
    "implementation": "implement|add|create|build|support|feature|endpoint|write a|make a",
    "debugging": "fix|bug|crash|crashes|error|broken|fails|failing|traceback|exception|debug|regression",
    "refactoring": "refactor|rename|extract|clean up|split|simplify|restructure|deduplicate|move",
    "testing": "test|tests|coverage|spec|specs|unit test|e2e",
    "review": "review|look over|audit|pull request|pr|feedback on|critique",
    "documentation": "document|docs|readme|docstring|docstrings|changelog|comment",
    "operations": "deploy|rollout|server|disk|cluster|migrate|upgrade|install|docker|kubernetes|restart|backup",
    "research": "research|compare|find out|which library|alternatives|state of the art|look up|investigate|evaluate",
}
_PROMPT_WORDS: Final = {target: re.compile(rf"\b(?:{words})\b") for target, words in _WORDS.items()}

Point = tuple[CognitiveTarget, Reason]


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted of a trajectory's calls, once, for all rules."""

    calls: tuple[Call, ...]
    edits: tuple[Edit, ...]
    edit_calls: int
    activities: Mapping[Activity, int]
    commands: Mapping[Command, int]
    kinds: Mapping[FileKind, int]
    known: int
    fixes: int
    failed_before_edits: bool
    last_check: bool | None
    passed_before_edits: bool

    def share(self, count: int) -> float:
        """A count as a share of all calls that are known to do something."""
        return count / self.known if self.known else 0.0

    def share_of_edits(self, *kinds: FileKind) -> float:
        """The share of edits that are of files of these kinds."""
        return sum(self.kinds.get(kind, 0) for kind in kinds) / len(self.edits) if self.edits else 0.0


def target_of(steps: Sequence[StitchedStep], calls: tuple[Call, ...]) -> TargetVerdict:
    """What the session was for, with the reasons for the best target, and for what the prompt decided."""
    pattern = _pattern(calls)
    points: dict[CognitiveTarget, float] = {}
    reasons: dict[CognitiveTarget, list[Reason]] = {}
    for target, reason in _points(pattern):
        if reason.points > 0:
            points[target] = points.get(target, 0.0) + reason.points
            reasons.setdefault(target, []).append(msgspec.structs.replace(reason, points=round(reason.points, 1)))
    asked = _asked_for(steps)
    ranked = sorted(points, key=lambda target: (-points[target], target))
    if not ranked or points[ranked[0]] < POINTS_MIN:
        return _by_words_alone(asked)
    best = ranked[0]
    tied = [target for target in ranked if points[target] >= TIE_SHARE * points[best]]
    chosen = max(tied, key=lambda target: (asked[target], points[target]))
    told = reasons[chosen]
    if chosen != best:
        told.append(Reason("prompt_decides", asked[chosen]))
    second = next((target for target in ranked if target != chosen), None)
    among = points[chosen] + (points[second] if second else 0.0)
    return TargetVerdict(target=chosen, confidence=round(points[chosen] / among, 2), second=second, reasons=tuple(told))


def _by_words_alone(asked: Mapping[CognitiveTarget, int]) -> TargetVerdict:
    best = max(asked, key=asked.__getitem__, default=None)
    if best is None or not asked[best]:
        return TargetVerdict(target=None, confidence=0.0, second=None, reasons=(Reason("nothing_tells"),))
    reasons = (Reason("prompt_words_alone", asked[best]),)
    return TargetVerdict(target=best, confidence=0.2, second=None, reasons=reasons)


def _asked_for(steps: Sequence[StitchedStep]) -> Counter[CognitiveTarget]:
    """How many words of each target the first prompts have."""
    prompts = [words for step in steps if (words := words_of(step))][:PROMPTS_MAX]
    text = "\n".join(prompt[:PROMPT_CHARS_MAX] for prompt in prompts).lower()
    return Counter({target: len(set(pattern.findall(text))) for target, pattern in _PROMPT_WORDS.items()})


def _pattern(calls: tuple[Call, ...]) -> Pattern:
    edits = tuple(edit for call in calls for edit in call.edits)
    editing = [place for place, call in enumerate(calls) if call.edits]
    first = editing[0] if editing else len(calls)
    last = editing[-1] if editing else -1
    before = [call for call in calls[:first] if call.is_check]
    return Pattern(
        calls=calls,
        edits=edits,
        edit_calls=len(editing),
        activities=Counter(call.activity for call in calls),
        commands=Counter(call.command for call in calls if call.command is not None),
        kinds=Counter(edit.kind for edit in edits),
        known=sum(call.activity is not Activity.OTHER for call in calls),
        fixes=_fixes(calls),
        failed_before_edits=any(map(_is_failed_program, calls[:first])),
        last_check=next((call.check_passed for call in reversed(calls[last + 1 :]) if call.is_check), None),
        passed_before_edits=bool(before) and all(call.check_passed is not False for call in before),
    )


def _is_failed_program(call: Call) -> bool:
    return bool(call.has_failed) and call.command in {Command.TEST, Command.BUILD, Command.RUN}


def _fixes(calls: Sequence[Call]) -> int:
    """Edits that answer a failure: the calls that edit, after a program failed, before another one is run."""
    fixes, is_open = 0, False
    for call in calls:
        if call.command in {Command.TEST, Command.BUILD, Command.RUN}:
            is_open = bool(call.has_failed)
        elif call.edits and is_open:
            fixes += 1
    return fixes


def _points(pattern: Pattern) -> Iterator[Point]:
    """Yield what each rule gives."""
    yield from _of_looking(pattern)
    yield from _of_planning(pattern)
    yield from _of_commands(pattern)
    if pattern.edits:
        yield from _of_files(pattern)
        yield from _of_changes(pattern)
        yield from _of_fixes(pattern)


def _of_looking(pattern: Pattern) -> Iterator[Point]:
    looks = sum(pattern.activities.get(each, 0) for each in LOOKING) + pattern.commands.get(Command.HISTORY, 0)
    web = pattern.activities.get(Activity.WEB, 0)
    unedited = max(0.0, 1.0 - 2 * pattern.share(pattern.edit_calls))
    yield "exploration", Reason("reads_and_searches", looks, 60 * pattern.share(looks) * unedited)
    yield "research", Reason("searches_the_web", web, 70 * pattern.share(web))


def _of_planning(pattern: Pattern) -> Iterator[Point]:
    uncoded = 1.0 - pattern.share_of_edits(FileKind.CODE, FileKind.TEST)
    plans, asks = pattern.activities.get(Activity.PLAN, 0), pattern.activities.get(Activity.ASK, 0)
    handed = pattern.activities.get(Activity.HAND_OVER, 0)
    written = pattern.kinds.get(FileKind.PLAN, 0)
    yield "planning", Reason("plan_updates", plans, min(30, 10 * plans) * uncoded)
    yield "planning", Reason("questions_to_user", asks, min(10, 10 * asks) * uncoded)
    yield "planning", Reason("plans_handed_over", handed, min(30, 30 * handed) * uncoded)
    yield "planning", Reason("plan_files_written", written, 40 * pattern.share_of_edits(FileKind.PLAN))


def _of_commands(pattern: Pattern) -> Iterator[Point]:
    commands, edited = pattern.commands, bool(pattern.edits)
    reviews, operations = commands.get(Command.REVIEW, 0), commands.get(Command.OPERATE, 0)
    tests = commands.get(Command.TEST, 0)
    told = sum(call.tells_reviewers for call in pattern.calls)
    yield "operations", Reason("operating_commands", operations, (40 if edited else 60) * pattern.share(operations))
    yield "testing", Reason("test_runs", tests, min(15, 5 * tests) if edited else 40 * pattern.share(tests))
    if not edited:
        yield "review", Reason("changes_viewed", reviews, 25 * min(1, reviews) + 40 * pattern.share(reviews))
        yield "debugging", Reason("failed_programs", sum(map(_is_failed_program, pattern.calls)), 30 * _failed(pattern))
    yield "review", Reason("reviews_given", told, 20 * min(1, told))


def _failed(pattern: Pattern) -> float:
    return pattern.share(sum(map(_is_failed_program, pattern.calls)))


def _of_files(pattern: Pattern) -> Iterator[Point]:
    """Points for the kind of files that are changed; less where changing is a small part of all."""
    weight = 60 * (0.5 + 0.5 * min(1.0, 3 * pattern.share(pattern.edit_calls)))
    for target, kind, code in (
        ("documentation", FileKind.DOCUMENT, "documents_edited"),
        ("testing", FileKind.TEST, "tests_edited"),
        ("operations", FileKind.OPERATION, "deployment_edited"),
    ):
        yield target, Reason(code, pattern.kinds.get(kind, 0), weight * pattern.share_of_edits(kind))  # type: ignore[misc]


def _of_changes(pattern: Pattern) -> Iterator[Point]:
    """Points for what is new against what only moves."""
    code = [edit for edit in pattern.edits if edit.kind is FileKind.CODE]
    lines = [Counter(_lines(edit.added)) for edit in code], [Counter(_lines(edit.removed)) for edit in code]
    added, removed = (sum(each, Counter[str]()) for each in lines)
    grown = max(0, added.total() - removed.total()) / max(1, added.total())
    moved = (added & removed).total()
    new_files = sum(edit.is_new for edit in code)
    pairs = Counter((edit.removed, edit.added) for edit in pattern.edits if edit.removed)
    repeated = max(pairs.values(), default=0)
    moves = pattern.commands.get(Command.MOVE, 0)
    share = pattern.share_of_edits(FileKind.CODE)
    yield "implementation", Reason("code_edited", len(code), 50 * share * (0.4 + 0.6 * grown))
    yield "implementation", Reason("files_created", new_files, 15 * min(1, new_files))
    if repeated >= REPEATED_MIN:
        yield "refactoring", Reason("same_replacement", repeated, 40)
    if 2 * moved >= added.total() > 0:
        yield "refactoring", Reason("lines_moved", moved, 40)
    yield "refactoring", Reason("files_moved", moves, 15 * min(1, moves))
    if pattern.passed_before_edits and pattern.last_check:
        yield "refactoring", Reason("passes_before_and_after", 1, 25)


def _lines(text: str) -> Iterator[str]:
    return (stripped for line in text.split("\n") if (stripped := line.strip()))


def _of_fixes(pattern: Pattern) -> Iterator[Point]:
    yield "debugging", Reason("edits_after_failures", pattern.fixes, 50 * pattern.fixes / max(1, pattern.edit_calls))
    if pattern.failed_before_edits:
        yield "debugging", Reason("failed_before_edits", 1, 20)
    if pattern.fixes and pattern.last_check:
        yield "debugging", Reason("passes_after_fixes", pattern.fixes, 10)

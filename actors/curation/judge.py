"""The optional judge: another model's opinion of a session. Pure: what it is asked, what of its answer is believed, and
what a day of it may cost.

What it said is kept apart from what was derived (`Judgement`, not `CuratedEnrichment`): it is the opinion of a model
that reads what anybody may have written, also sentences written to please it. An answer is taken as a whole or not at
all: one judgement for each session that was asked about, each within its bounds.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final, Literal, Protocol, TypeVar

import msgspec

from actors.curation.enrichment.verdicts import CognitiveTarget
from actors.curation.stitched import StitchedStep, StitchedTrajectory

JUDGE_VERSION: Final = 1
"""Raised whenever the prompt changes, or what is shown of a session: what was judged before is judged anew."""
JUDGE_RULES: Final = f"judge-{JUDGE_VERSION}"

RATIONALE_CHARS_MAX: Final = 300
STEP_CHARS_MAX: Final = 600
"""Characters of a step that are shown to the judge."""
ARGUMENTS_BYTES_MAX: Final = 300
CHARS_PER_TOKEN: Final = 3
"""For estimates before a question is asked; rather too few characters, so that the budget holds."""
ANSWER_TOKENS: Final = 200
"""Tokens of the answer for each session."""


class JudgeProblem(StrEnum):
    """Why there is no judgement; stable codes."""

    UNREACHABLE = "unreachable"
    UNAVAILABLE = "unavailable"
    """It answers nobody: by its status (401, 404, 429, 5xx, a redirect) the question was not even looked at."""
    TOO_LATE = "too_late"
    BROKEN_OFF = "broken_off"
    TOO_LONG = "too_long"
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    INCOMPLETE = "incomplete"


OF_THE_JUDGE: Final = frozenset({JudgeProblem.UNREACHABLE, JudgeProblem.UNAVAILABLE})
"""Those that say nothing of the sessions that were asked about."""


class JudgeError(Exception):
    """The judge gave no answer that can be believed; `problem` says why. Holds nothing of question and answer."""

    def __init__(self, problem: JudgeProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Question(msgspec.Struct, frozen=True):
    """What a judge is asked about some sessions: the two messages, the sessions' ids, and about how many tokens."""

    instructions: str
    sessions: str
    ids: tuple[str, ...]
    tokens: int


class Answer(msgspec.Struct, frozen=True):
    """What a judge said, as text, and how many tokens it counted for question and answer; None when it did not say."""

    text: str
    tokens: int | None


class Judge(Protocol):
    """A model that can be asked. Raises JudgeError."""

    async def ask(self, question: Question) -> Answer:
        """Ask, and wait for the answer no longer than the time-out."""
        ...


class _Named(Protocol):
    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=_Named)


class Judgement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A judge's opinion of one session."""

    id: str
    cognitive_target: CognitiveTarget
    quality: Annotated[int, msgspec.Meta(ge=0, le=100)]
    outcome: Literal["succeeded", "failed", "unclear"]
    rationale: Annotated[str, msgspec.Meta(max_length=RATIONALE_CHARS_MAX)]


class _Judgements(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    judgements: list[Judgement]


class Budget(msgspec.Struct, frozen=True):
    """Tokens that were spent on a UTC day."""

    day: str = ""
    tokens: int = 0

    def left(self, day: str, tokens_max: int) -> int:
        """How many tokens may still be spent on this day; another day than that of the budget is untouched."""
        return max(0, tokens_max - (self.tokens if day == self.day else 0))

    def allows(self, question: Question, day: str, tokens_max: int) -> bool:
        """Whether a question, with its answer, still fits the day."""
        return question.tokens <= self.left(day, tokens_max)

    def after(self, day: str, question: Question, answer: Answer | None) -> "Budget":
        """The budget after a question: what the judge counted, but no less than was estimated, answered or not."""
        counted = max(question.tokens, (answer.tokens or 0) if answer is not None else 0)
        return Budget(day, (self.tokens if day == self.day else 0) + counted)


_ANSWER = msgspec.json.Decoder(_Judgements)
_encode = msgspec.json.Encoder().encode


def shown_session(trajectory: StitchedTrajectory, chars_max: int) -> str:
    """What the judge is shown of a scrubbed trajectory: its steps, a line each, of at most so many characters together.

    Where not all find room, it is the beginning and the end.
    """
    steps = trajectory.trajectory_log
    lines: list[str] = []
    chars = 0
    half = chars_max // 2
    place = 0
    while place < len(steps) and chars + len(line := _line(steps[place])) + 1 <= half:
        lines.append(line)
        chars += len(line) + 1
        place += 1
    ending: list[str] = []
    last = len(steps)
    while last > place and chars + len(line := _line(steps[last - 1])) + 40 <= chars_max:
        ending.append(line)
        chars += len(line) + 1
        last -= 1
    left_out = [f"[{last - place} steps left out]"] if last > place else []
    return "\n".join([*lines, *left_out, *reversed(ending)])[:chars_max]


def question_about(sessions: Sequence[str]) -> Question:
    """The question about some sessions, each as it is shown (`shown_session`)."""
    return question_of(_instructions(), "session", sessions)


def question_of(
    instructions: str, member: str, shown: Sequence[object], *, answer_tokens: int = ANSWER_TOKENS
) -> Question:
    """A question about several things, each shown as a member of an item.

    They are called by numbers: their own ids are nothing that a judge needs.
    """
    ids = tuple(str(n) for n in range(1, len(shown) + 1))
    asked = _encode([{"id": name, member: each} for name, each in zip(ids, shown, strict=True)]).decode()
    tokens = (len(instructions.encode()) + len(asked.encode())) // CHARS_PER_TOKEN + 1
    return Question(instructions, asked, ids, tokens + answer_tokens * len(ids))


def judgements_of(question: Question, answer: Answer) -> Mapping[str, Judgement]:
    """What the judge says of each session, by the ids of the question. Raises JudgeError for an answer that is none."""
    return items_of(question, answer, lambda text: _ANSWER.decode(text).judgements)


def items_of(question: Question, answer: Answer, read: Callable[[str], Sequence[Item]]) -> dict[str, Item]:
    """The items of an answer, by the ids of the question and in their order: one for each, or JudgeError is raised.

    `read` decodes the answer's text, and raises msgspec.DecodeError.
    """
    try:
        found = read(unfenced(answer.text))
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise JudgeError(JudgeProblem.UNREADABLE) from None
    named = {each.id: each for each in found}
    if len(found) != len(question.ids) or named.keys() != set(question.ids):
        raise JudgeError(JudgeProblem.INCOMPLETE)
    return {name: named[name] for name in question.ids}


def unfenced(text: str) -> str:
    """The text without the fence of Markdown that some models put around JSON whatever they are told."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        return text[3:-3].removeprefix("json")
    return text


@lru_cache(maxsize=1)
def _instructions() -> str:
    return (pkgutil.get_data(__name__, "judge_prompt.md") or b"").decode()


def _line(step: StitchedStep) -> str:
    said = " ".join(step.said[: 2 * STEP_CHARS_MAX].split())[:STEP_CHARS_MAX]
    asked = bytes(step.arguments)[:ARGUMENTS_BYTES_MAX].decode(errors="replace")
    return " ".join(part for part in (f"{step.type}:", step.tool_name[:60], asked, said) if part)

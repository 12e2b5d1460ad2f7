"""Why something of the corpus is not in an export: stable codes, which the manifest counts and `--explain` lists."""

from enum import StrEnum


class LeftOutReason(StrEnum):
    """Each trajectory is in an export, or left out for exactly one of these: the first that holds, in this order."""

    # What the selection asks for.
    DATE = "date"
    PROVIDER = "provider"
    MODEL = "model"
    DOMAIN = "domain"
    COGNITIVE_TARGET = "cognitive_target"
    OUTCOME = "outcome"
    TIER = "tier"
    NOT_TRAINING_ELIGIBLE = "not_training_eligible"
    QUALITY = "quality"
    FEEDBACK = "feedback"
    TOKENS = "tokens"
    STEPS = "steps"
    CONTRIBUTOR = "contributor"
    TOOL = "tool"
    TEXT = "text"
    # What nothing should be trained on.
    UNREADABLE = "unreadable"
    """The line is damaged, or was erased."""
    NO_STEPS = "no_steps"
    CUT_ARGUMENTS = "cut_arguments"
    SEQUENCE_GAPS = "sequence_gaps"
    CONTAMINATED = "contaminated"
    """It shares 13 words in a row with a benchmark's text (`--decontaminate`)."""
    EXACT_COPY = "exact_copy"
    NEAR_COPY = "near_copy"
    BETWEEN_SPLITS = "between_splits"
    """It is a near copy of a trajectory that belongs to another split, or holds steps of one."""
    SUBAGENT = "subagent"
    """`--subagents drop`."""
    EMBEDDED = "embedded"
    """`--subagents embed`: it stands within its parent's."""
    SAMPLE = "sample"
    LIMIT = "limit"
    OVERLONG = "overlong"
    """It has more tokens than `--max-tokens`, and `--overlong` says to drop it, or no turn of it fits."""
    # What a format cannot say; a trajectory may be in one format and left out of another.
    NO_AGENT_TURN = "no_agent_turn"
    NO_USER_TURN = "no_user_turn"
    NO_CALLS = "no_calls"
    NO_LABEL = "no_label"
    """Nothing says whether it was good: no feedback, no outcome (`kto`, `dpo`)."""
    NO_PAIR = "no_pair"
    """Nothing in it was preferred to something else (`dpo`)."""
    NOT_ALTERNATING = "not_alternating"
    """The reader wants turns that alternate, and these cannot be made to."""
    MARKS = "marks"
    """A text holds the very marks by which the reader tells reasoning and calls apart (`sharegpt`)."""


class LeftOut(Exception):  # noqa: N818 (no error: the expected end of a conversion)
    """Raised by a format for a trajectory that it has no row for; `reason` says why."""

    def __init__(self, reason: LeftOutReason) -> None:
        super().__init__(reason.value)
        self.reason = reason

"""How good a session is as training data, and whether it is fit for it at all."""

from collections.abc import Iterator, Sequence
from typing import Final

from actors.curation.enrichment.calls import Call
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.enrichment.verdicts import ExclusionReason, QualityVerdict, Reason, Tier
from actors.curation.stitched import StitchedStep, StitchedTrajectory, text_of

ENDED_POINTS: Final = 10
"""Neither in the middle of a call, nor with an error or an interruption."""
CLOSING_WORD_POINTS: Final = 15
"""The agent says something after its last result."""
CHECKED_POINTS: Final = 20
"""What was changed last is checked, and passes."""
CHECKED_UNCLEARLY_POINTS: Final = 12
UNCHECKED_POINTS: Final = 8
NOTHING_TO_CHECK_POINTS: Final = 16
ERRORS_POINTS: Final = 20
ANSWERED_POINTS: Final = 10
REASONING_POINTS: Final = 10
CALLS_POINTS: Final = 9
CALLS_ENOUGH: Final = 6
TOKENS_POINTS: Final = 6
FAILURES_WORTH_NOTHING: Final = 0.5
"""The share of calls that fail for good from which on there are no points for errors."""
REASONED_CALLS: Final = 5
"""Calls for each thought, up to which reasoning counts in full."""
TAKEN_FOR_GAP: Final = 5
TAKEN_FOR_CUT_ARGUMENTS: Final = 5
TAKEN_FOR_REPEATED_MEMBERS: Final = 10
TAKEN_FOR_TRUNCATED: Final = 10
"""When every step is cut; in proportion when some are."""
TAKEN_MAX: Final = 15
"""What gaps, and what cut arguments, may take at most, each."""

WORDS: Final = frozenset({"thought", "resolution"})
RESULTS: Final = frozenset({"observation", "error"})


def quality_of(trajectory: StitchedTrajectory, calls: Sequence[Call], settings: EnrichmentSettings) -> QualityVerdict:
    """The score of a trajectory with its parts, its tier, and why it is not eligible if it is not."""
    steps = trajectory.trajectory_log
    cut_arguments = sum(step.type == "action" and step.truncated is True for step in steps)
    gaps = len(trajectory.sequence_gaps)
    parts = (*_earned(trajectory, calls, settings), *_taken(trajectory, gaps, cut_arguments))
    # Rounded one by one, so that the parts that are shown add up to the score that is shown.
    rounded = tuple(Reason(part.code, part.count, round(part.points, 1)) for part in parts)
    score = max(0, min(100, round(sum(part.points for part in rounded))))
    excluded = tuple(_exclusions(trajectory, gaps, cut_arguments, settings))
    return QualityVerdict(
        score=score,
        tier=_tier(score, settings),
        parts=rounded,
        training_eligible=not excluded,
        training_exclusion_reasons=excluded,
    )


def _tier(score: int, settings: EnrichmentSettings) -> Tier:
    if score >= settings.tier_a_points_min:
        return "A"
    return "B" if score >= settings.tier_b_points_min else "C"


def _earned(trajectory: StitchedTrajectory, calls: Sequence[Call], settings: EnrichmentSettings) -> Iterator[Reason]:
    steps = trajectory.trajectory_log
    answered = [call for call in calls if call.has_failed is not None]
    failures = _unrecovered(answered)
    thoughts = sum(step.type in WORDS for step in steps)
    yield Reason("ends_whole", 1, ENDED_POINTS if _ends_whole(steps, calls) else 0)
    yield Reason("closing_word", 1, CLOSING_WORD_POINTS if _has_closing_word(steps) else 0)
    yield _checked(calls)
    failed = failures / len(answered) if answered else 0.0
    yield Reason("unrecovered_failures", failures, ERRORS_POINTS * max(0.0, 1 - failed / FAILURES_WORTH_NOTHING))
    yield Reason("calls_answered", len(answered), ANSWERED_POINTS * (len(answered) / len(calls) if calls else 0.0))
    yield Reason("reasoning", thoughts, REASONING_POINTS * min(1.0, thoughts * REASONED_CALLS / max(1, len(calls))))
    yield Reason("calls", len(calls), CALLS_POINTS * min(1.0, len(calls) / CALLS_ENOUGH))
    enough = max(1, settings.training_tokens_min)
    yield Reason("tokens", trajectory.total_tokens, TOKENS_POINTS * min(1.0, trajectory.total_tokens / enough))


def _taken(trajectory: StitchedTrajectory, gaps: int, cut_arguments: int) -> Iterator[Reason]:
    steps = trajectory.trajectory_log
    truncated = sum(step.truncated is True for step in steps)
    taken = (
        ("sequence_gaps", gaps, min(TAKEN_MAX, TAKEN_FOR_GAP * gaps)),
        ("cut_arguments", cut_arguments, min(TAKEN_MAX, TAKEN_FOR_CUT_ARGUMENTS * cut_arguments)),
        ("truncated_steps", truncated, TAKEN_FOR_TRUNCATED * truncated / max(1, len(steps))),
        ("repeated_members", trajectory.repeated_members, TAKEN_FOR_REPEATED_MEMBERS),
    )
    yield from (Reason(code, count, -points) for code, count, points in taken if count)


def _ends_whole(steps: Sequence[StitchedStep], calls: Sequence[Call]) -> bool:
    if not steps or steps[-1].has_failed or text_of(steps[-1].intent) == "interruption":
        return False
    return not calls or calls[-1].has_failed is not None


def _has_closing_word(steps: Sequence[StitchedStep]) -> bool:
    if steps and text_of(steps[-1].intent) == "interruption":
        return False
    last_result = max((place for place, step in enumerate(steps) if step.type in RESULTS), default=-1)
    return any(step.type in WORDS for step in steps[last_result + 1 :])


def _checked(calls: Sequence[Call]) -> Reason:
    """How the last change was checked."""
    last_edit = max((place for place, call in enumerate(calls) if call.edits), default=None)
    if last_edit is None:
        return Reason("nothing_to_check", 0, NOTHING_TO_CHECK_POINTS)
    checks = [call.check_passed for call in calls[last_edit + 1 :] if call.is_check]
    if not checks:
        return Reason("unchecked_changes", 0, UNCHECKED_POINTS)
    if checks[-1] is None:
        return Reason("changes_checked_unclearly", len(checks), CHECKED_UNCLEARLY_POINTS)
    return Reason("changes_pass", len(checks), CHECKED_POINTS) if checks[-1] else Reason("changes_fail", len(checks), 0)


def _unrecovered(answered: Sequence[Call]) -> int:
    """Calls that failed, and of whose kind none succeeded later."""
    succeeds: set[object] = set()
    failures = 0
    for call in reversed(answered):
        kind = (call.activity, call.command)
        if not call.has_failed:
            succeeds.add(kind)
        elif kind not in succeeds:
            failures += 1
    return failures


def _exclusions(
    trajectory: StitchedTrajectory, gaps: int, cut_arguments: int, settings: EnrichmentSettings
) -> Iterator[ExclusionReason]:
    steps = trajectory.trajectory_log
    types = {step.type for step in steps}
    if len(steps) < settings.training_steps_min:
        yield "too_few_steps"
    if not types & {"action", "edit"}:
        yield "no_actions"
    if not types & RESULTS:
        yield "no_observations"
    if trajectory.total_tokens < settings.training_tokens_min:
        yield "insufficient_tokens"
    if trajectory.duration_s < settings.training_duration_s_min:
        yield "too_short"
    if gaps > settings.training_sequence_gaps_max:
        yield "sequence_gaps"
    if cut_arguments > settings.training_cut_arguments_max:
        yield "cut_arguments"
    if trajectory.repeated_members:
        yield "repeated_members"
    if steps and trajectory.copied_steps >= len(steps):
        yield "wholly_copied"

"""Tokens that agents reported, added up as the API of sessions does it. Estimates are never counted. Pure.

What an earlier trajectory holds already is counted there: a copy took nothing.
"""

from collections.abc import Iterable

from central_command.corpus.trajectory import Step, Trajectory, Usage


def usage_of_session(trajectory: Trajectory) -> Usage | None:
    """What the agent reported for the whole session; None where it reported nothing."""
    copied = trajectory.copied_places
    return usage_of(step for place, step in enumerate(trajectory.steps) if place not in copied)


def usage_of(steps: Iterable[Step]) -> Usage | None:
    """What the agent reported for these steps in all; None where it reported nothing."""
    found = [step.usage for step in steps if step.usage is not None]
    if not found:
        return None
    return Usage(
        input_tokens=_sum(each.input_tokens for each in found),
        output_tokens=_sum(each.output_tokens for each in found),
        cache_read_tokens=_sum(each.cache_read_tokens for each in found),
        cache_write_tokens=_sum(each.cache_write_tokens for each in found),
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None

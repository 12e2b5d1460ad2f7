"""Which steps of a trajectory are copies: runs that an earlier trajectory holds already. Pure.

Agents copy history into new files (resume, fork, branch, sub-agents), and people send a file from two machines. A step
is credited once, wherever copies of it lie, and whoever they come from. What is compared of a step, and what a run's
fingerprint is, says `persistence.format.step_runs`; where each was first seen is looked up by whoever calls this.

Equal steps are not always copies: hundreds of honest sessions begin with the same greeting, or hold `continue`, `ls`,
`ok`. So a run counts from `copied_chars_min` characters on, content and arguments of steps that differ from each other.
A run at the very start needs only `copied_start_chars_min`, because that is where copied history stands, and where the
whole of a short session is. Repetition within a session is work, not a copy: only earlier trajectories are looked at.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from actors.trajectories.settings import ScoringSettings
from persistence.databases.fingerprints import FirstSeen
from persistence.format.records import CopiedRun
from persistence.format.step_runs import RUN_STEPS, StepDigests


def copied_runs(
    digests: StepDigests, fingerprints: Sequence[int], seen: Mapping[int, FirstSeen], settings: ScoringSettings
) -> tuple[CopiedRun, ...]:
    """The runs that are copies, in order, without overlap; `seen` has the fingerprints that earlier trajectories hold.

    A trajectory with fewer than three steps is a copy when another consists of the same ones.
    """
    found: list[CopiedRun] = []
    length = min(RUN_STEPS, len(digests))
    for first, last in _stretches(fingerprints, seen):
        least = settings.copied_chars_min if first else settings.copied_start_chars_min
        if digests.distinct_chars(first, last + length - 1) < least:
            continue
        for run in _by_source(first, last, length, fingerprints, seen):
            # Runs of two stretches can share a step: it belongs to the earlier one.
            from_step = max(run.from_step, found[-1].to_step + 1 if found else 1)
            if from_step <= run.to_step:
                found.append(msgspec.structs.replace(run, from_step=from_step))
    return tuple(found)


def _stretches(fingerprints: Sequence[int], seen: Mapping[int, FirstSeen]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last place of fingerprints in a row that were seen."""
    first: int | None = None
    for place, fingerprint in enumerate(fingerprints):
        if fingerprint in seen:
            first = place if first is None else first
        elif first is not None:
            yield first, place - 1
            first = None
    if first is not None:
        yield first, len(fingerprints) - 1


def _by_source(
    first: int, last: int, length: int, fingerprints: Sequence[int], seen: Mapping[int, FirstSeen]
) -> Iterator[CopiedRun]:
    """Yield a stretch in runs of one trajectory each; a step belongs to the first fingerprint that has it."""
    from_step = first + 1
    for place in range(first, last + 1):
        source = seen[fingerprints[place]]
        if place < last and seen[fingerprints[place + 1]].n == source.n:
            continue
        to_step = place + length
        yield CopiedRun(
            from_step=from_step, to_step=to_step, session_id=source.session_id, trajectory_id=source.trajectory_id
        )
        from_step = to_step + 1

"""Which steps of a trajectory are copies: runs that an earlier trajectory holds already. Pure.

Agents copy history into new files (resume, fork, branch, sub-agents), and people send a file from two machines. A step
is credited once, wherever copies of it lie, and whoever they come from. What is compared of a step, and what a run's
fingerprint is, says `persistence.format.step_runs`; where each was first seen is looked up by whoever calls this.

Equal steps are not always copies: hundreds of honest sessions begin with the same greeting, or hold `continue`, `ls`,
`ok`. So a run counts from `copied_chars_min` characters on, content and arguments of steps that differ from each other.
A run at the very start needs only `copied_start_chars_min`, because that is where copied history stands, and where the
whole of a short session is. Repetition within a session is work, not a copy: only earlier trajectories are looked at.

One or two steps are no run. Where nothing else is left of a session, because it has no more or because all around them
was copied, they are a remainder: a client that leaves copied history out would have sent them by themselves. It is a
copy when earlier trajectories consist of these steps, or end with them; as one, or each of the two.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from actors.trajectories.settings import ScoringSettings
from persistence.databases.fingerprints import FirstSeen
from persistence.format.records import CopiedRun
from persistence.format.step_runs import RUN_STEPS, StepDigests


def copied_runs(
    digests: StepDigests, long_runs: Sequence[CopiedRun], seen: Mapping[int, FirstSeen], settings: ScoringSettings
) -> tuple[CopiedRun, ...]:
    """All runs that are copies, in order, without overlap; `seen` has the fingerprints that earlier trajectories hold.

    Those that are looked up are all that `long_runs` are found by, and then those of the remainders.
    """
    found = [*long_runs]
    for remainder in _remainders(long_runs, len(digests)):
        for parts in _parted(*remainder):
            runs = [
                _run(*part, seen[fingerprint])
                for part in parts
                if (fingerprint := digests.fingerprint(*part)) in seen
                and digests.have_chars(*part, settings.copied_start_chars_min)
            ]
            if len(runs) == len(parts):
                found += runs
                break
    return tuple(sorted(found, key=lambda run: run.from_step))


def remainder_fingerprints(digests: StepDigests, long_runs: Sequence[CopiedRun]) -> list[int]:
    """What is to be looked up of the one or two steps that are left, once it is known which long runs are copies."""
    remainders = _remainders(long_runs, len(digests))
    return [digests.fingerprint(*part) for remainder in remainders for parts in _parted(*remainder) for part in parts]


def copied_long_runs(
    digests: StepDigests, fingerprints: Sequence[int], seen: Mapping[int, FirstSeen], settings: ScoringSettings
) -> list[CopiedRun]:
    """The runs of three steps and more that are copies, in order, without overlap."""
    found: list[CopiedRun] = []
    for stretch in _stretches(fingerprints[: max(0, len(digests) - RUN_STEPS + 1)], seen):
        first, last = stretch[0].first, stretch[-1].last
        least = settings.copied_chars_min if first else settings.copied_start_chars_min
        if not digests.have_chars(first, last + RUN_STEPS - 1, least):
            continue
        for run in _by_source(stretch):
            # Runs of two stretches can share a step: it belongs to the earlier one.
            from_step = max(run.from_step, found[-1].to_step + 1 if found else 1)
            if from_step <= run.to_step:
                found.append(msgspec.structs.replace(run, from_step=from_step))
    return found


def _remainders(copies: Sequence[CopiedRun], steps: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last place of one or two steps that are all that stands between copies, or at all."""
    if not copies and steps >= RUN_STEPS:
        return
    first = 0
    for run in copies:
        if 0 < run.from_step - 1 - first < RUN_STEPS:
            yield first, run.from_step - 2
        first = run.to_step
    if 0 < steps - first < RUN_STEPS:
        yield first, steps - 1


def _parted(first: int, last: int) -> Iterator[Sequence[tuple[int, int]]]:
    """Yield the ways in which one or two steps may have been sent: together, or each by itself."""
    yield [(first, last)]
    if first < last:
        yield [(first, first), (last, last)]


def _run(first: int, last: int, source: FirstSeen) -> CopiedRun:
    return CopiedRun(
        from_step=first + 1, to_step=last + 1, session_id=source.session_id, trajectory_id=source.trajectory_id
    )


class _Part(msgspec.Struct, frozen=True, gc=False):
    """Fingerprints in a row that were first seen in one trajectory: the first and the last place."""

    source: FirstSeen
    first: int
    last: int


def _stretches(fingerprints: Sequence[int], seen: Mapping[int, FirstSeen]) -> Iterator[Sequence[_Part]]:
    """Yield fingerprints in a row that were seen, in parts of one trajectory each."""
    stretch: list[_Part] = []
    place = 0
    for source, alike in groupby(map(seen.get, fingerprints)):
        first, place = place, place + len([*alike])
        if source is not None:
            stretch.append(_Part(source, first, place - 1))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _by_source(stretch: Sequence[_Part]) -> Iterator[CopiedRun]:
    """Yield a stretch in runs of one trajectory each; a step belongs to the first fingerprint that has it."""
    from_place = stretch[0].first
    for part in stretch:
        to_place = part.last + RUN_STEPS - 1
        yield _run(from_place, to_place, part.source)
        from_place = to_place + 1

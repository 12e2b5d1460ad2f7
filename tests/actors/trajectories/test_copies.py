"""What of a trajectory counts as a copy of earlier ones, and what does not."""

from collections.abc import Sequence

import msgspec
import pytest

from actors.trajectories.copies import copied_long_runs, copied_runs, remainder_fingerprints
from actors.trajectories.settings import ScoringSettings
from persistence.databases.fingerprints import FirstSeen
from persistence.format.step_runs import StepDigests, StepTexts

SETTINGS = ScoringSettings()


def digests_of(texts: Sequence[str]) -> StepDigests:
    digests = StepDigests()
    digests.add([StepTexts(type="thought", content=msgspec.Raw(b'"%s"' % text.encode())) for text in texts])
    return digests


def long(prefix: str, count: int) -> list[str]:
    """Steps that differ, of 40 characters each."""
    return [f"{prefix}{number:02}".ljust(40, "x") for number in range(count)]


class Held:
    """Trajectories in the order in which they were credited."""

    def __init__(self, *earlier: Sequence[str]) -> None:
        self.seen: dict[int, FirstSeen] = {}
        for n, texts in enumerate(earlier, start=1):
            for each in digests_of(texts).fingerprints():
                self.seen.setdefault(each, FirstSeen(n, f"sess_{n}", f"traj_{n}"))

    def copied(self, texts: Sequence[str], settings: ScoringSettings = SETTINGS) -> list[tuple[int, int, str]]:
        digests = digests_of(texts)
        fingerprints = digests.fingerprints()
        seen = self._looked_up(fingerprints)
        long_runs = copied_long_runs(digests, fingerprints, seen, settings)
        seen |= self._looked_up(remainder_fingerprints(digests, long_runs))
        assert copied_long_runs(digests, fingerprints, seen, settings) == long_runs
        runs = copied_runs(digests, long_runs, seen, settings)
        return [(run.from_step, run.to_step, run.session_id) for run in runs]

    def _looked_up(self, fingerprints: Sequence[int]) -> dict[int, FirstSeen]:
        return {each: self.seen[each] for each in fingerprints if each in self.seen}


def test_a_session_that_is_there_already_is_a_copy_as_a_whole() -> None:
    texts = long("a", 20)
    assert Held(texts).copied(texts) == [(1, 20, "sess_1")]


def test_copies_are_found_at_the_start_in_the_middle_and_at_the_end() -> None:
    """A fork goes on from its start; others repeat a part."""
    old, new = long("a", 9), long("b", 9)
    held = Held(old)
    assert held.copied(old[:5] + new) == [(1, 5, "sess_1")]
    assert held.copied(new[:4] + old[3:7] + new[4:]) == [(5, 8, "sess_1")]
    assert held.copied(new + old[6:]) == [(10, 12, "sess_1")]
    assert held.copied(old[:3] + new[:1] + old[4:8]) == [(1, 3, "sess_1"), (5, 8, "sess_1")]


def test_fewer_than_three_steps_in_a_row_are_none() -> None:
    old, new = long("a", 9), long("b", 9)
    assert Held(old).copied(old[:2] + new + old[5:7]) == []
    assert Held(old).copied([*old[:2], new[0], *old[2:4], new[1]]) == []


def test_a_session_of_one_or_two_steps_is_a_copy_of_its_equal_only() -> None:
    texts = long("a", 3)
    for length in (1, 2):
        assert Held(texts[:length]).copied(texts[:length]) == [(1, length, "sess_1")]
        assert Held(texts[:length]).copied(texts) == []
        assert Held(texts).copied(texts[:length]) == []


def test_repetition_within_a_session_is_no_copy() -> None:
    """Whatever is repeated, it is the session's own."""
    assert Held(long("a", 5)).copied(long("b", 4) * 10) == []


def test_what_honest_sessions_share_by_chance_is_no_copy() -> None:
    """Three short steps, even many times over; a greeting at the start."""
    idle = ["continue", "ls", "ok"]
    held = Held([*long("a", 3), *idle, *long("b", 3)], ["hi", "Hello! How can I help?", "thanks"])
    assert held.copied([*long("c", 3), *idle * 20, *long("d", 3)]) == []
    assert held.copied(["hi", "Hello! How can I help?", "thanks", *long("e", 4)]) == []


def test_content_counts_by_its_characters_and_less_of_it_at_the_start() -> None:
    old = ["twelve chars", "and a second", "and a third1"]
    new = long("b", 4)
    held = Held(["before", *old, "behind"], old)
    assert len("".join(old).replace(" ", "")) == 31
    assert held.copied(old + new) == []
    assert held.copied(old + new, ScoringSettings(copied_start_chars_min=31)) == [(1, 3, "sess_1")]
    assert held.copied(new + old) == []
    assert held.copied(new + old, ScoringSettings(copied_chars_min=30)) == [(5, 7, "sess_1")]
    assert held.copied(old + new, ScoringSettings(copied_start_chars_min=100)) == []


def test_a_run_belongs_to_the_trajectory_that_had_it_first() -> None:
    """A fork of a fork has its history from two."""
    first, second, third = long("a", 6), long("b", 6), long("c", 6)
    held = Held(first, first + second)
    assert held.copied(first + second + third) == [(1, 6, "sess_1"), (7, 12, "sess_2")]


def test_runs_of_two_sources_never_share_a_step() -> None:
    one, two = long("a", 4), long("b", 4)
    held = Held(one, [*one[3:], *two])
    found = held.copied([*one, *two])
    assert found == [(1, 4, "sess_1"), (5, 8, "sess_2")]
    overlapping = Held([*one[:2], two[0]], [two[0], *two[1:3]]).copied([*one[:2], *two[:3]])
    assert overlapping == [(1, 3, "sess_1"), (4, 5, "sess_2")]


@pytest.mark.parametrize("length", [1, 2])
def test_one_or_two_steps_beside_copies_are_one_when_a_session_consisted_of_them(length: int) -> None:
    """A fork whose history was left out at first, and then sent as a whole; also before and between what is copied."""
    old, more, left = long("a", 5), long("b", 4), long("left", length)
    held = Held(old, left, more)
    assert held.copied(old + left) == [(1, 5, "sess_1"), (6, 5 + length, "sess_2")]
    assert held.copied(left + old) == [(1, length, "sess_2"), (length + 1, length + 5, "sess_1")]
    both = [(1, 5, "sess_1"), (6, 5 + length, "sess_2"), (6 + length, 9 + length, "sess_3")]
    assert held.copied(old + left + more) == both
    assert held.copied(old + left + more + left) == [*both, (10 + length, 9 + 2 * length, "sess_2")]


@pytest.mark.parametrize("length", [1, 2])
def test_a_session_of_one_or_two_steps_is_a_copy_of_what_another_ends_with(length: int) -> None:
    """A fork that was sent as a whole, and then without its history."""
    old, left = long("a", 5), long("left", length)
    held = Held(old + left, old, long("c", 4))
    assert held.copied(left) == [(1, length, "sess_1")]
    assert held.copied(long("c", 4) + left) == [(1, 4, "sess_3"), (5, 4 + length, "sess_1")]
    assert held.copied(long("d", 4) + left) == []


def test_two_steps_may_have_been_sent_one_after_the_other() -> None:
    """A file that grew by one step twice: both have to be known."""
    old, left = long("a", 5), long("left", 2)
    assert Held(old, left[:1], left[1:]).copied(old + left) == [(1, 5, "sess_1"), (6, 6, "sess_2"), (7, 7, "sess_3")]
    assert Held(old, left[:1], left[1:]).copied(left) == [(1, 1, "sess_2"), (2, 2, "sess_3")]
    for known in left:
        assert Held(old, [known]).copied(old + left) == [(1, 5, "sess_1")]
        assert Held(old, [known]).copied(left) == []


def test_steps_are_new_beside_copies_unless_they_are_all_that_another_session_had() -> None:
    """Not what stands somewhere in one, not among others, and not what anybody may say."""
    old, other, left = long("a", 5), long("b", 6), long("left", 2)
    assert Held(old, other).copied(old + other[2:4]) == [(1, 5, "sess_1")]
    assert Held(old, other).copied(old + other[:2]) == [(1, 5, "sess_1")]
    assert Held(old, left).copied(old + left + long("new", 1)) == [(1, 5, "sess_1")]
    assert Held(old, left).copied(old + left[:1]) == [(1, 5, "sess_1")]
    assert Held(old, left).copied(long("new", 3) + left) == []
    for said in (["ok"], ["go on"], ["hi", "Hello! How can I help?"]):
        assert Held(old, said, [*other, *said]).copied(old + said) == [(1, 5, "sess_1")]
        assert Held(old, said).copied(said) == []
    assert Held(old, left).copied(old + left, ScoringSettings(copied_start_chars_min=81)) == [(1, 5, "sess_1")]


def test_a_session_that_goes_on_from_another_without_its_steps_is_new() -> None:
    assert Held(long("a", 9)).copied(long("b", 9)) == []
    assert Held().copied([]) == []

"""A session's turns are listed by what was asked for: each once, in order, whatever the session's size."""

from pathlib import Path

import pytest

from central_command.viewing.turns import Turns, turns_from
from persistence.format.step_places import BLOCK_STEPS
from tests.actors.curation.trajectory_lines import prompt, thought
from tests.central_command.viewing.test_windows import kept, steps_of
from tests.corpus_maker import session


def listed(root: Path, steps: list[dict[str, object]], first: int = 1, **settings: float) -> Turns:
    records = kept(root, session(1, steps), **settings)
    with records.opened("sess_1") as record:
        return turns_from(record, first, records.settings)


def test_lists_one_after_the_other_name_every_turn_once_and_lead_back(tmp_path: Path) -> None:
    records = kept(tmp_path, session(1, steps_of(BLOCK_STEPS)), turns_max=100)
    with records.opened("sess_1") as record:
        found, first = [], 1
        while first:
            some = turns_from(record, first, records.settings)
            assert len(some.found) <= 100
            assert some.before == max(0, first - 100)
            found += some.found
            first = some.behind
    assert [each.number for each in found] == list(range(1, BLOCK_STEPS + 1))
    assert [each.place for each in found] == list(range(1, 4 * BLOCK_STEPS, 4))
    assert [each.title for each in found] == [f"ask {number}" for number in range(BLOCK_STEPS)]


def test_a_list_begins_where_it_is_asked_to_and_behind_the_last_turn_there_is_none(tmp_path: Path) -> None:
    some = listed(tmp_path, steps_of(5), 4, turns_max=2)
    assert ([each.number for each in some.found], some.before, some.behind) == ([4, 5], 2, 0)
    records = kept(tmp_path / "again", session(1, steps_of(5)))
    with records.opened("sess_1") as record:
        assert turns_from(record, 6, records.settings).found == []


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Mend the parser. Then test it.", "Mend the parser"),
        ("# Task\n\nMend `a.py`, please", "Task Mend a.py, please"),
        ("<command-name>/clear</command-name>\n", "/clear"),
        ("word " * 40, "word " * 14 + "word…"),
        ("```\ncode\n```", ""),
        ("", ""),
    ],
)
def test_a_turn_is_named_by_the_first_sentence_of_what_was_asked_for(tmp_path: Path, text: str, title: str) -> None:
    (turn,) = listed(tmp_path, [prompt(text), thought("hm")]).found
    assert turn.title == title


def test_a_list_ends_with_its_time_behind_one_turn_and_says_where_to_go_on(tmp_path: Path) -> None:
    some = listed(tmp_path, steps_of(5), timeout_s=1e-9)
    assert ([each.number for each in some.found], some.behind) == ([1], 2)


def test_steps_before_the_first_prompt_are_in_no_turn(tmp_path: Path) -> None:
    some = listed(tmp_path, [thought("wake"), prompt("go on")])
    assert [(each.number, each.place) for each in some.found] == [(1, 2)]

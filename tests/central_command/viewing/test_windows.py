"""A session is read by windows of its steps: in order, without gaps, each step once, whatever their sizes."""

import json
from pathlib import Path
from typing import Any

import pytest

from central_command.viewing.copying import copied
from central_command.viewing.finding import Hits, find
from central_command.viewing.json_strings import PIECE_BYTES
from central_command.viewing.records import Head, Missing, MissingError, Records
from central_command.viewing.settings import ViewerSettings
from central_command.viewing.windows import Window, timeline, turn_begins, window_from, window_until
from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.format.step_places import BLOCK_STEPS
from persistence.journals.erasure_register import ErasureRegister, ErasureSubject, digest_of, register_path
from tests.actors.curation.trajectory_lines import prompt, thought
from tests.corpus_maker import NOW, session
from tests.indexed import put

LATER = 10**9


def call(number: int, *, result: str = "done", **arguments: Any) -> list[dict[str, Any]]:
    called = {
        "type": "action",
        "tool": "Bash",
        "call_id": f"c{number}",
        "arguments": arguments,
        "content": "Using Bash",
    }
    return [called, {"type": "observation", "tool": "Bash", "call_id": f"c{number}", "content": result}]


def steps_of(turns: int) -> list[dict[str, Any]]:
    """Turns of four steps each: a prompt, a call with its result, a thought."""
    return [
        step
        for number in range(turns)
        for step in (prompt(f"ask {number}"), *call(number, result=f"Result {number}"), thought(f"Thought {number}"))
    ]


def kept(root: Path, *sessions: dict[str, Any], **settings: Any) -> Records:
    put(root, *sessions)
    return Records(root, ViewerSettings(**settings))


def window(records: Records, name: str = "sess_1", *, first: int = 1, types: tuple[str, ...] = ()) -> Window:
    with records.opened(name) as record:
        return window_from(record, first, types, record.session.step_count, records.settings)


def until(records: Records, last: int, name: str = "sess_1", types: tuple[str, ...] = ()) -> Window:
    with records.opened(name) as record:
        return window_until(record, last, types, record.session.step_count, records.settings)


def found(records: Records, query: str, *, first: int = 1, hits_max: int = 50) -> Hits:
    with records.opened("sess_1") as record:
        return find(record, query, first, hits_max, deadline=LATER)


def places(shown: Window) -> list[int]:
    """All steps of a window, results beside their calls included."""
    return [place for each in shown.shown for place in (each.step.place, *([each.result.place] if each.result else []))]


def test_windows_one_after_the_other_are_the_whole_session(tmp_path: Path) -> None:
    records = kept(tmp_path, session(1, steps_of(300)), window_steps=70)
    forward, at = list[int](), 1
    while at:
        shown = window(records, first=at)
        assert shown.first == at
        forward += [place for place in places(shown) if shown.first <= place <= shown.last]
        at = shown.behind
    assert sorted(forward) == list(range(1, 1_201))
    backward, at = list[int](), 1_200
    while at:
        shown = until(records, at)
        backward = [place for place in places(shown) if shown.first <= place <= shown.last] + backward
        at = shown.before
    assert sorted(backward) == list(range(1, 1_201))


def test_a_result_stands_beside_its_call(tmp_path: Path) -> None:
    shown = window(kept(tmp_path, session(1, steps_of(2))))
    assert [(each.step.place, each.result.place if each.result else None) for each in shown.shown] == [
        (1, None),
        (2, 3),
        (4, None),
        (5, None),
        (6, 7),
        (8, None),
    ]
    assert shown.shown[1].result is not None
    assert shown.shown[1].result.text == "Result 0"


def test_a_call_and_its_result_in_different_windows_are_shown_with_each_other(tmp_path: Path) -> None:
    first, last = call(1, result="at last")
    records = kept(tmp_path, session(1, [first, *(thought(f"t{n}") for n in range(BLOCK_STEPS)), last]), window_steps=5)
    shown = window(records).shown[0]
    assert shown.is_apart
    assert shown.result is not None
    assert shown.result.text == "at last"
    assert until(records, BLOCK_STEPS + 2).shown[-1].call == 1


def test_only_the_chosen_types_are_shown_and_windows_go_on_behind_them(tmp_path: Path) -> None:
    records = kept(tmp_path, session(1, steps_of(300)), window_steps=10)
    shown = window(records, types=("thought",))
    assert [each.step.place for each in shown.shown] == [4 * n for n in range(1, 11)]
    assert shown.behind == 44
    assert [each.step.place for each in window(records, first=1_197, types=("thought",)).shown] == [1_200]
    assert until(records, 43, types=("thought",)).shown[-1].step.place == 40
    assert window(records, types=("error",)).shown == []


def test_a_window_is_bounded_in_bytes_and_has_at_least_one_step(tmp_path: Path) -> None:
    records = kept(tmp_path, session(1, [thought("x" * 9_000)] * 9), window_bytes_max=20_000)
    assert places(window(records)) == [1, 2]
    records = Records(tmp_path, ViewerSettings(window_bytes_max=10))
    assert places(window(records, first=3)) == [3]


@pytest.mark.parametrize("first", [-5, 0, 9, 10**12])
def test_a_window_of_steps_that_there_are_not_is_empty_or_the_nearest(tmp_path: Path, first: int) -> None:
    shown = window(kept(tmp_path, session(1, steps_of(2))), first=first)
    assert places(shown) == ([] if first > 8 else list(range(1, 9)))


def test_a_large_step_is_cut_and_its_other_members_are_there(tmp_path: Path) -> None:
    content = "é\n\"'\\日本" * 40_000
    step = {
        "content": content,
        "type": "observation",
        "tool": "Bash",
        "call_id": "c1",
        "arguments": {"a": "word " * 20_000},
    }
    records = kept(tmp_path, session(1, [thought("a"), step, thought("b")]))
    with records.opened("sess_1") as record:
        place = record.place(2)
        assert place is not None
        shown = record.step(place, 1_000)
        assert content.startswith(shown.text)
        assert 400 < len(shown.text) <= 1_000
        assert shown.cut
        assert (shown.tool, shown.call_id) == ("Bash", "c1")
        assert str(shown.arguments).startswith('{"a":"word word')
        whole = "".join(record.texts(place))
        assert whole == content + "\n\n" + json.dumps({"a": "word " * 20_000}, separators=(",", ":"))


def test_what_is_looked_for_is_found_as_letters_without_case_anywhere(tmp_path: Path) -> None:
    steps = [
        thought("Eins zwei"),
        *call(1, command='echo "Größe" | tee C:\\x'),
        thought("foo_bar.baz()"),
        prompt("日本語"),
    ]
    records = kept(tmp_path, session(1, steps))
    for query, place in (
        ("zwei", 1),
        ("EINS", 1),
        ("größe", 2),
        ('"größe"', 2),
        ("c:\\x", 2),
        ("o_bar.b", 4),
        ("本", 5),
    ):
        assert [hit.place for hit in found(records, query).found] == [place], query
    assert found(records, "trajectory").found == []
    assert found(records, "observation").found == []


def test_hits_are_listed_in_order_and_gone_on_with(tmp_path: Path) -> None:
    records = kept(tmp_path, session(1, steps_of(300)))
    hits = found(records, "thought", hits_max=5)
    assert [hit.place for hit in hits.found] == [4, 8, 12, 16, 20]
    assert hits.behind is not None
    assert [hit.place for hit in found(records, "thought", first=hits.behind, hits_max=2).found] == [24, 28]
    last = found(records, "Thought 299")
    assert [(hit.place, hit.before, hit.hit, hit.behind) for hit in last.found] == [(1_200, "", "Thought 299", "")]
    assert last.behind is None


def test_a_large_step_is_looked_through_to_its_end_also_between_two_pieces(tmp_path: Path) -> None:
    steps = [thought("x" * cut + "Needle" + "y" * 70_000) for cut in range(PIECE_BYTES - 8, PIECE_BYTES + 3)]
    records = kept(tmp_path, session(1, [thought("needles?"), *steps, thought("é" * 150_000 + "NEEDLE")]))
    assert [hit.place for hit in found(records, "needle").found] == [*range(1, len(steps) + 3)]
    assert [hit.place for hit in found(records, "xneedley").found] == [*range(2, len(steps) + 2)]


def test_a_search_that_takes_too_long_says_where_it_goes_on(tmp_path: Path) -> None:
    records = kept(tmp_path, session(1, steps_of(3)))
    with records.opened("sess_1") as record:
        assert find(record, "nothing", 1, 50, deadline=0) == Hits([], 1)


def head(records: Records, name: str) -> Head:
    with records.opened(name) as record:
        return records.head(record)


def test_the_head_has_all_but_the_steps(tmp_path: Path) -> None:
    records = kept(tmp_path, session(1, steps_of(3), score={"basePoints": 3, "correctionBonus": 4, "totalPoints": 18}))
    found = head(records, "sess_1")
    assert found.trajectory.steps == ()
    assert found.trajectory.model == "claude-opus-4-6"
    assert found.trajectory.contributor.startswith("con_")
    assert found.points == {"basePoints": 3, "correctionBonus": 4, "totalPoints": 18}
    assert found.counts == {"action": 3, "instruction": 3, "observation": 3, "thought": 3}
    assert (found.turns, found.session.step_count) == (3, 12)


def test_sessions_that_are_joined_name_each_other(tmp_path: Path) -> None:
    def joined(number: int, **metadata: Any) -> dict[str, Any]:
        known = {"provider": "codex", "model_engine": "gpt-5.5", **metadata}
        return session(number, steps_of(1), metadata=known)

    records = kept(
        tmp_path,
        joined(1, lineage={"id": "aa"}),
        joined(2, lineage={"id": "bb", "parent_id": "aa"}, agent_role="subagent"),
        joined(3, continues_session="sess_1"),
        {**joined(4, continues_session="sess_1"), "contributor_id": "f" * 32},
    )
    first = head(records, "sess_1").related
    assert (first.sub_agents, first.continued_by) == (("sess_2",), ("sess_3",))
    assert head(records, "sess_2").related.parents == ("sess_1",)
    assert head(records, "sess_3").related.continues == ("sess_1",)
    assert head(records, "sess_4").related.continues == (), "nobody says so of somebody else's session"


def test_turns_and_the_timeline_lead_to_steps(tmp_path: Path) -> None:
    records = kept(tmp_path, session(1, steps_of(300)))
    with records.opened("sess_1") as record:
        assert [turn_begins(record, turn) for turn in (1, 2, 300, 301)] == [1, 5, 1_197, None]
        segments = timeline(record)
    assert len(segments) <= 120
    assert (segments[0].first, segments[-1].last) == (1, 1_200)
    assert sum(segment.turns for segment in segments) == 300


def test_a_session_that_is_not_there_or_to_be_erased_is_not_shown(tmp_path: Path) -> None:
    records = kept(tmp_path, session(1), session(2))
    with pytest.raises(MissingError) as missing, records.opened("sess_9"):
        pass
    assert missing.value.reason is Missing.NOT_THERE
    register = ErasureRegister(register_path(DataLayout(tmp_path)), OsFileSystem(), lambda: NOW)
    register.ask(ErasureSubject.SESSION, digest_of(ErasureSubject.SESSION, "sess_1"))
    with pytest.raises(MissingError), records.opened("sess_1"):
        pass
    with records.opened("sess_2") as record:
        assert record.session.session_id == "sess_2"


def test_a_copy_is_text_and_says_where_it_was_cut(tmp_path: Path) -> None:
    records = kept(tmp_path, session(1, steps_of(3)))
    with records.opened("sess_1") as record:
        assert copied(record, 2, 4, 10_000) == (
            "\n## 2. action Bash\n\nUsing Bash\n\n## 3. observation Bash\n\nResult 0\n\n## 4. thought\n\nThought 0\n"
        )
        assert copied(record, 1, 12, 60).endswith("[cut here: step 3 and what follows are not part of this copy]\n")

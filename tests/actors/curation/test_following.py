"""Each trajectory is in the corpus exactly once, whatever dies when, and follows what is said of its session later."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from actors.curation import following, records
from actors.curation.fields import FieldTag, FieldTags
from actors.curation.following import CurationStatistics
from persistence.corpus import Corpus
from persistence.files.failures import DataDirectoryLocked, StorageDamage
from tests.actors.curation.deaths import Killed
from tests.curated import (
    EMAIL,
    corpus_lines,
    corpus_rows,
    curate,
    curation,
    leave_session,
    leave_sessions,
    refused,
    shown,
)
from tests.running_service import running
from tests.signing_client import CONTRIBUTOR

NAMES = ("sess_a", "sess_b", "sess_c")


@pytest.fixture(scope="module")
def _stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("curated") / "data"
    trio.run(leave_sessions, root, *NAMES)
    return root


@pytest.fixture
def root(_stored: Path, tmp_path: Path) -> Path:
    """A data directory with three closed sessions, and no corpus."""
    return Path(shutil.copytree(_stored, tmp_path / "data"))


async def test_every_trajectory_has_one_record_with_its_texts_scrubbed(root: Path) -> None:
    done = await curate(root)
    assert (done.followed_n, done.reached_n, done.records, done.waiting_since) == (3, 3, 3, None)
    assert list(shown(root)) == [*NAMES]
    assert EMAIL not in "".join(path.read_text() for path in (root / "corpus").iterdir())
    for line in corpus_lines(root):
        assert line["trajectory_log"][0]["content"] == "write to [EMAIL]"
        assert line["rules"] == records.RULES


async def test_what_is_there_is_not_made_again(root: Path) -> None:
    """Also when all is followed anew: the record is what it would be."""
    await curate(root)
    before = corpus_lines(root)
    assert (await curate(root)).records == 0
    assert (await curate(root, anew=True)).records == 0
    assert corpus_lines(root) == before


def dying(monkeypatch: pytest.MonkeyPatch, where: str, when: int, *, after: bool) -> None:
    """Let the process end at the `when`th call of what `where` names, before it or after it."""
    calls = 0

    def at(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == when and not after:
            raise Killed
        result = function(*args, **options)
        if calls == when:
            raise Killed
        return result

    if where == "reading":
        made = following.scrub_trajectory
        monkeypatch.setattr(following, "scrub_trajectory", lambda *args, **options: at(made, *args, **options))
        return
    init = Corpus.__init__

    def opened(self: Corpus, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        if where == "line":
            write = self._end.write
            self._end.write = lambda lines: at(write, lines)  # type: ignore[method-assign]
        else:
            commit = self._database.write

            async def committing(*args: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == when and not after:
                    raise Killed
                result = await commit(*args, **options)
                if calls == when:
                    raise Killed
                return result

            self._database.write = committing  # type: ignore[method-assign]

    monkeypatch.setattr(Corpus, "__init__", opened)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("when", [1, 2, 3])
@pytest.mark.parametrize("where", ["reading", "line", "rows"])
async def test_whatever_dies_when_each_trajectory_is_there_once(
    root: Path, where: str, when: int, *, after: bool
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        dying(monkeypatch, where, when, after=after)
        with pytest.raises((Killed, BaseExceptionGroup)):
            await curate(root)
    await curate(root)
    assert sorted(line["session_id"] for line in corpus_lines(root)) == [*NAMES]
    assert [line["received"]["n"] for line in corpus_lines(root)] == [1, 2, 3]
    assert list(shown(root)) == [*NAMES]


@pytest.mark.parametrize("cut", [1, 200])
async def test_half_a_line_is_cut_off_and_made_again(root: Path, cut: int) -> None:
    await curate(root)
    (day,) = (root / "corpus").glob("*.jsonl")
    text = day.read_bytes()
    kept = text[: text.rindex(b"\n", 0, -1) + 1]
    with pytest.MonkeyPatch.context() as monkeypatch:
        shutil.rmtree(root / "corpus")
        (root / "corpus.db").unlink()
        dying(monkeypatch, "line", 3, after=False)
        with pytest.raises((Killed, BaseExceptionGroup)):
            await curate(root)
    (day,) = (root / "corpus").glob("*.jsonl")
    day.write_bytes(day.read_bytes() + text[len(kept) : -cut])
    await curate(root)
    assert [line["session_id"] for line in corpus_lines(root)] == [*NAMES]
    assert len(list((root / "torn").iterdir())) == 1


async def test_a_lost_database_is_made_again_from_the_lines(root: Path) -> None:
    await curate(root)
    rows = corpus_rows(root, "SELECT * FROM records")
    (root / "corpus.db").unlink()
    assert (await curate(root)).records == 0
    assert corpus_rows(root, "SELECT * FROM records") == rows


async def test_other_rules_make_records_anew_and_a_reader_sees_each_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after two of them, it goes on with the third."""
    await curate(root)
    monkeypatch.setattr(following, "RULES", "other-2")
    with pytest.MonkeyPatch.context() as inner:
        dying(inner, "line", 2, after=True)
        with pytest.raises((Killed, BaseExceptionGroup)):
            await curate(root, anew=True)
    assert sorted(line["rules"] for line in shown(root).values()) == ["other-2", records.RULES, records.RULES]
    await curate(root)
    assert {name: line["rules"] for name, line in shown(root).items()} == dict.fromkeys(NAMES, "other-2")
    assert len(corpus_lines(root)) == 6


async def test_without_consent_there_is_no_record_but_a_reason(root: Path) -> None:
    done = await curate(root, consented=refused(CONTRIBUTOR))
    assert (done.records, done.passed_over) == (0, {"no_consent": 3})
    assert corpus_lines(root) == []
    assert corpus_rows(root, "SELECT session_id, reason FROM passed_over ORDER BY 1") == [
        (name, "no_consent") for name in NAMES
    ]


async def test_a_record_goes_when_consent_does_and_comes_back_with_it(root: Path) -> None:
    await curate(root)
    await curate(root, anew=True, consented=refused(CONTRIBUTOR))
    assert shown(root) == {}
    assert [line.get("taken_back") for line in corpus_lines(root)[3:]] == ["no_consent"] * 3
    (root / "corpus.db").unlink()  # the lines say so, too
    await curate(root, consented=refused(CONTRIBUTOR))
    assert shown(root) == {}
    await curate(root, anew=True)
    assert list(shown(root)) == [*NAMES]
    assert corpus_rows(root, "SELECT * FROM passed_over") == []


async def test_what_cannot_be_scrubbed_is_not_written(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the trajectory and the kind of error, never its text."""

    def failing(*args: Any, **options: Any) -> Any:
        raise ValueError(EMAIL)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(following, "scrub_trajectory", failing)
        done = await curate(root)
    assert (done.records, done.passed_over) == (0, {"scrubbing_failed": 3})
    assert corpus_lines(root) == []
    assert EMAIL not in caplog.text
    assert "ValueError" in caplog.text


async def test_a_trajectory_beyond_the_bound_is_passed_over(root: Path) -> None:
    done = await curate(root, trajectory_bytes_max=100)
    assert done.passed_over == {"too_large": 3}


async def test_one_that_ends_the_process_is_left_alone_after_some_attempts(root: Path) -> None:
    for _ in range(2):
        with pytest.MonkeyPatch.context() as monkeypatch:
            dying(monkeypatch, "reading", 1, after=False)
            with pytest.raises((Killed, BaseExceptionGroup)):
                await curate(root, guarded_bytes_min=1, attempts_max=2)
    done = await curate(root, guarded_bytes_min=1, attempts_max=2)
    assert (done.records, done.passed_over) == (2, {"ended_the_process": 1})
    assert [name for (name,) in corpus_rows(root, "SELECT trajectory_id FROM attempts")] == []


async def test_feedback_that_came_after_the_close_is_in_the_record(tmp_path: Path) -> None:
    """Before it was made, and after: then by another line that takes its place."""
    async with running(tmp_path / "data") as run:
        client = await run.open("sess_told")
        await run.send(client.chunk(2))
        await run.send(client.feedback("modified", sequence=50))
        await run.send(client.close())
        await leave_session(run, "sess_other")
        await run.projected()
        await run.send(client.feedback("rejected", sequence=51))
        await run.projected()
        await curate(run.root)
        first = shown(run.root)["sess_told"]
        assert [each["signal"] for each in first["feedback"]] == ["modified", "rejected"]
        await run.send(client.feedback("accepted", sequence=52))
        await run.projected()
        assert (await curate(run.root)).records == 1
        assert (await curate(run.root)).records == 0
    second = shown(run.root)["sess_told"]
    assert [each["signal"] for each in second["feedback"]] == ["modified", "rejected", "accepted"]
    assert (second["record_id"], second["received"]["n"]) == (first["record_id"], 3)


async def test_it_goes_on_with_what_comes_while_it_runs(root: Path, autojump_clock: trio.testing.MockClock) -> None:
    said: list[CurationStatistics] = []
    done = {3: trio.Event(), 4: trio.Event()}

    def report(statistics: CurationStatistics) -> None:
        said.append(statistics)
        if statistics.followed_n in done and statistics.waiting_since is None:
            done[statistics.followed_n].set()

    async with running(root) as run, curation(root, report=report) as (curating, _), trio.open_nursery() as nursery:
        nursery.start_soon(curating.run)
        await done[3].wait()
        await leave_session(run, "sess_d")
        await done[4].wait()
        nursery.cancel_scope.cancel()
    assert {each.waiting_since is None for each in said} == {True, False}
    assert list(shown(root)) == [*NAMES, "sess_d"]


async def test_two_never_write_the_corpus(root: Path) -> None:
    async with curation(root):
        with pytest.raises(DataDirectoryLocked, match=r"the corpus in .* is being written by process"):
            await curate(root)


async def test_it_waits_for_room(root: Path, autojump_clock: trio.testing.MockClock) -> None:
    said: list[CurationStatistics] = []
    async with curation(root, report=said.append) as (curating, corpus), trio.open_nursery() as nursery:
        free = corpus._files.free_bytes
        corpus._files.free_bytes = lambda path: 0  # type: ignore[method-assign]
        nursery.start_soon(curating.catch_up)
        await trio.sleep(20)
        assert said[-1].is_out_of_room
        assert corpus_lines(root) == []
        corpus._files.free_bytes = free  # type: ignore[method-assign]
    assert len(shown(root)) == 3
    assert not curating.statistics().is_out_of_room


async def test_a_damaged_line_of_the_corpus_is_said(root: Path) -> None:
    await curate(root)
    (day,) = (root / "corpus").glob("*.jsonl")
    day.write_bytes(day.read_bytes().replace(b"[EMAIL]", b"[EMIAL]", 1))
    (root / "corpus.db").unlink()
    with pytest.raises(StorageDamage, match="the corpus journal is damaged"):
        await curate(root)


async def test_copies_and_near_copies_are_of_one_cluster_in_whatever_order_they_are_made_anew(tmp_path: Path) -> None:
    """The second of two equal sessions, and one of which a step differs; another one is of none of them."""
    same = [f"step {place}: the parser of the {place * 7} tables reads a line and counts it" for place in range(40)]
    async with running(tmp_path / "data") as run:
        await leave_session(run, "sess_a", same)
        await leave_session(run, "sess_other", ["a deadlock between two threads that wait for locks"] * 3)
        await leave_session(run, "sess_b", same)
        await leave_session(run, "sess_near", [*same[:-1], "and then something else was done in the end"])
    await curate(tmp_path / "data")

    def clusters() -> dict[str, str]:
        return dict(corpus_rows(tmp_path / "data", "SELECT session_id, cluster FROM records"))

    before = clusters()
    assert before["sess_a"] == before["sess_b"] == before["sess_near"] != before["sess_other"]
    hashes = dict(corpus_rows(tmp_path / "data", "SELECT session_id, sha256 FROM records"))
    assert hashes["sess_a"] == hashes["sess_b"] != hashes["sess_near"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(following, "RULES", "other-2")
        await curate(tmp_path / "data", anew=True)
    assert clusters() == before
    await curate(tmp_path / "data", anew=True, consented=refused(CONTRIBUTOR))
    assert corpus_rows(tmp_path / "data", "SELECT count(*) FROM bands") == [(0,)]


async def test_with_tags_the_rules_are_others_and_the_row_has_the_field(root: Path) -> None:
    tags = FieldTags(FieldTag("databases", 0.4), None, None)
    async with curation(root, tagged=lambda trajectory: tags) as (curating, _):
        await curating.catch_up()
    assert corpus_rows(root, "SELECT DISTINCT domain, rules FROM records") == [
        ("databases", f"{records.RULES} fields-1")
    ]
    assert (await curate(root, anew=True)).records == 3


@pytest.mark.parametrize("damaged", NAMES)
async def test_a_damaged_trajectory_is_said_and_passed_by(
    root: Path, caplog: pytest.LogCaptureFixture, damaged: str
) -> None:
    """Also the last of all. What follows is taken; from a backup, it is taken when all is gone over again."""
    (day,) = (root / "trajectories").glob("*.jsonl")
    text = day.read_bytes()
    day.write_bytes(text.replace(f"{damaged}: done".encode(), f"{damaged}: gone".encode(), 1))
    done = await curate(root)
    assert (done.records, done.followed_n) == (2, 3)
    assert "the trajectories journal is damaged: a line that fails its checksum" in caplog.text
    assert list(shown(root)) == [name for name in NAMES if name != damaged]
    day.write_bytes(text)
    assert (await curate(root, anew=True)).records == 1
    assert sorted(shown(root)) == [*NAMES]

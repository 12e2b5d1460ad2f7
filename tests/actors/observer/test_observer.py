"""The observer over its journal: what it acknowledged is there after anything, and each cycle reads on."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.observer.operation import OperationRefused
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName
from persistence.journals.framing import Frame, parse_frame
from persistence.journals.journal import AppendRefused
from persistence.upkeep.findings import Findings
from persistence.upkeep.operations_check import check_operations
from tests.actors.observer.failing import replay
from tests.actors.observer.observing import NOON, KnownVectors, watching

DAY_S = 86_400


def lines(root: Path) -> list[dict[str, Any]]:
    files = sorted((root / "operations").glob("*-*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


async def test_what_is_acknowledged_is_on_disk_and_in_the_ring_after_a_start(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        assert await watched.say(role="welder", success=True) == 1
        assert lines(tmp_path)[0]["operation"]["role"] == "welder"
        assert await watched.say(error="no worker") == 2
        figures = watched.observer.ring.figures()
    async with watching(tmp_path) as watched:
        assert watched.observer.ring.figures() == figures
        assert (figures["total"], figures["successes"], figures["failures"]) == (2, 1, 1)
        assert figures["by_source"] == {"scenario": 2}
        assert figures["recent_scenario_ops"][0] == {
            "ts": watched.observer.ring.all()[0].operation.timestamp,
            "ok": True,
            "staffer": None,
            "kind": None,
            "role": "welder",
        }


async def test_a_torn_end_is_cut_off_and_the_rest_is_there(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        await watched.say(role="one")
        await watched.say(role="two")
    [path] = (tmp_path / "operations").iterdir()
    path.write_bytes(path.read_bytes() + b'{"operation":{"half')
    async with watching(tmp_path) as watched:
        assert [each.operation.role for each in watched.observer.ring.all()] == ["one", "two"]
        await watched.say(role="three")
    findings = Findings()
    await check_operations(DataLayout(tmp_path), findings)
    assert findings.lines == []


async def test_the_ring_is_bounded_and_pages_go_back_through_it(tmp_path: Path) -> None:
    async with watching(tmp_path, ring_operations_max=5) as watched:
        for number in range(9):
            await watched.say(role=f"r{number}")
        ring = watched.observer.ring
        assert [each.operation.role for each in ring.page(before_n=None, limit=3)] == ["r8", "r7", "r6"]
        assert [each.operation.role for each in ring.page(before_n=7, limit=3)] == ["r5", "r4"]
    async with watching(tmp_path, ring_operations_max=5) as watched:
        assert [each.n for each in watched.observer.ring.all()] == [5, 6, 7, 8, 9]


async def test_figures_are_of_what_the_ring_still_holds(tmp_path: Path) -> None:
    async with watching(tmp_path, ring_operations_max=12) as watched:
        await watched.say(source="mcp", error="x")
        for number in range(12):
            await watched.say(role=f"r{number}", success=number % 3 > 0)
        figures = watched.observer.ring.figures()
        assert (figures["total"], figures["successes"], figures["failures"]) == (12, 8, 4)
        assert figures["by_source"] == {"scenario": 12}
        assert [each["role"] for each in figures["recent_scenario_ops"]] == [f"r{number}" for number in range(2, 12)]


async def test_a_start_reads_no_more_with_many_operations_than_with_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are of one day; the last ones fill the ring."""
    monkeypatch.setattr("persistence.journals.scanning.READ_BYTES", 4_096)
    checked = {}
    for count in (100, 2_000):
        root = tmp_path / str(count)
        async with watching(root) as watched:
            for first in range(0, count, 20):
                for number in range(first, first + 20):
                    watched.observer.note({"endpoint": f"GET /{number}", "success": True, "source": "central_command"})
                await watched.observer.flush()
        calls = [0]

        def counting(line: bytes, calls: list[int] = calls) -> Frame | None:
            calls[0] += 1
            return parse_frame(line)

        with monkeypatch.context() as patch:
            patch.setattr("persistence.journals.scanning.parse_frame", counting)
            async with watching(root, ring_operations_max=20) as watched:
                assert [each.n for each in watched.observer.ring.all()] == [*range(count - 19, count + 1)]
        checked[count] = calls[0]
    assert checked[2_000] < 1.5 * checked[100], checked


async def test_a_replay_through_the_journal_gives_ten_groups_also_after_a_start(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        for _, members in replay(600):
            watched.observer.note(members)
            if len(watched.observer._own) == 200:
                await watched.observer.cycle()
        await watched.observer.cycle()
        failures = watched.observer.failures
        assert len(failures) == 10
        assert sum(each.count for each in failures) == 600
        assert all(each.recommendation and each.example["error"] for each in failures)
    async with watching(tmp_path) as watched:
        await watched.observer.cycle()
        assert watched.observer.failures == failures


async def test_own_operations_wait_for_the_cycle_and_are_bounded(tmp_path: Path) -> None:
    async with watching(tmp_path, own_waiting_max=2) as watched:
        for number in range(5):
            watched.observer.note({"endpoint": f"GET /{number}", "success": True, "source": "central_command"})
        assert len(watched.observer.ring) == 0
        await watched.observer.cycle()
        assert len(watched.observer.ring) == 2
        assert watched.observer.statistics().own_left_out == 3


async def test_new_wordings_are_embedded_once_and_joined_by_that(tmp_path: Path) -> None:
    known = KnownVectors({"parcel astray": (1.0, 0.0), "shipment lost": (1.0, 0.0)})
    async with watching(tmp_path, embedder=known) as watched:
        for error in ("parcel astray", "shipment lost", "parcel astray"):
            await watched.say(endpoint="ship", error=error)
        await watched.observer.cycle()
        await watched.observer.cycle()
        assert known.asked == ["parcel astray", "shipment lost"]
        [group] = watched.observer.failures
        assert (group.count, group.wordings) == (3, 2)


async def test_playbooks_come_every_fifth_cycle_and_are_updated_not_repeated(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        for number in range(4):
            await watched.say(
                endpoint="/q", input_summary=f"count orders of day {number}", success=True, duration_ms=10
            )
        for _ in range(5):
            await watched.observer.cycle()
        assert watched.observer.playbooks == ()  # four successes in all are too few
        await watched.say(endpoint="/rare", success=True)
        for _ in range(4):
            await watched.observer.cycle()
        assert watched.observer.playbooks == ()
        await watched.observer.cycle()
        [book] = watched.observer.playbooks
        assert (book.endpoint, book.count, book.average_ms, book.p95_ms) == ("/q", 4, 10, 10)
        assert book.pattern == "count orders of day <n>"
        await watched.say(endpoint="/q", input_summary="count returns of day 9", success=True, duration_ms=60)
        for _ in range(5):
            await watched.observer.cycle()
        [book] = watched.observer.playbooks
        assert (book.count, book.average_ms, book.p95_ms, book.pattern) == (5, 20, 60, "count … of day <n>")
    async with watching(tmp_path) as watched:
        assert watched.observer.playbooks == (book,)


async def test_whole_days_past_their_time_go_with_what_was_counted_of_them(tmp_path: Path) -> None:
    async with watching(tmp_path, kept_days=2) as watched:
        await watched.say(endpoint="old", error="x")
        watched.now += DAY_S
        await watched.say(endpoint="new", error="x")
        await watched.observer.cycle()
        assert {each.endpoint for each in watched.observer.failures} == {"old", "new"}
        watched.now += 2 * DAY_S
        await watched.say(endpoint="newest", error="x")
        await watched.observer.cycle()
        assert {each.endpoint for each in watched.observer.failures} == {"new", "newest"}
        assert len(lines(tmp_path)) == 2
    async with watching(tmp_path, kept_days=2, now=watched.now) as watched:
        assert await watched.say(endpoint="newest", error="x") == 3
        await watched.observer.cycle()
        assert {each.endpoint: each.count for each in watched.observer.failures} == {"new": 1, "newest": 2}


async def test_a_day_that_fills_the_quota_refuses_more_and_an_older_one_goes(tmp_path: Path) -> None:
    async with watching(tmp_path, quota_bytes=1_048_576, text_chars_max=100_000) as watched:
        text = "word " * 12_000
        for _ in range(17):
            assert isinstance(await watched.say(output_summary=text), int)
        assert await watched.say(output_summary=text) is AppendRefused.QUOTA_REACHED
        watched.now += DAY_S
        assert isinstance(await watched.say(output_summary=text), int)
        await trio.testing.wait_all_tasks_blocked()
        assert [path.name for path in sorted((tmp_path / "operations").glob("*-*.jsonl"))] == ["2026-12-01.jsonl"]


async def test_a_refused_operation_changes_nothing(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        with pytest.raises(OperationRefused):
            await watched.say(success="yes")
        assert (len(watched.observer.ring), lines(tmp_path)) == (0, [])


# Corrections


def row(number: int) -> str:
    return json.dumps({"task_class": "fill", "correction": f"c{number}", "applied_at_turn": number}) + "\n"


async def read(watched: Any) -> list[str | None]:
    await watched.observer.cycle()
    return [each.operation.correction for each in watched.observer.ring.all()]


async def test_corrections_are_read_once_whatever_becomes_of_their_file(tmp_path: Path) -> None:
    path, root = tmp_path / "corrections.jsonl", tmp_path / "data"
    async with watching(root, corrections_path=str(path)) as watched:
        assert await read(watched) == []  # there is no file yet
        path.write_text(row(1) + row(2) + row(3)[:20])
        assert await read(watched) == ["c1", "c2"]  # half a line waits
        assert await read(watched) == ["c1", "c2"]
        path.write_text(row(1) + row(2) + row(3))
        assert await read(watched) == ["c1", "c2", "c3"]
        path.write_text(row(4))  # cut: from its start
        assert await read(watched) == ["c1", "c2", "c3", "c4"]
    async with watching(root, corrections_path=str(path)) as watched:
        assert await read(watched) == ["c1", "c2", "c3", "c4"]  # a start reads nothing again
        other = tmp_path / "other"
        other.write_text(row(5) + row(6) + row(7))
        other.replace(path)  # rotated: longer than what was read, and all the same from its start
        assert (await read(watched))[4:] == ["c5", "c6", "c7"]
        assert all(each.operation.success for each in watched.observer.ring.all())
        assert watched.observer.ring.figures()["by_source"] == {"overseer_correction": 7}


async def test_a_crash_between_the_journal_and_the_note_reads_nothing_twice(tmp_path: Path) -> None:
    path, root = tmp_path / "corrections.jsonl", tmp_path / "data"
    path.write_text(row(1))
    async with watching(root, corrections_path=str(path)) as watched:
        await read(watched)
        noted = (root / "observer.json").read_bytes()
        path.write_text(row(1) + row(2))
        await read(watched)
    (root / "observer.json").write_bytes(noted)
    async with watching(root, corrections_path=str(path)) as watched:
        assert await read(watched) == ["c1", "c2"]
    (root / "observer.json").unlink()
    async with watching(root, corrections_path=str(path)) as watched:
        assert await read(watched) == ["c1", "c2"]


async def test_bad_rows_are_counted_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "corrections.jsonl"
    path.write_text("nonsense\n[]\n\n" + "x" * 3_000 + "\n" + row(1) + '{"correction":3}\n')
    async with watching(tmp_path / "data", corrections_path=str(path), correction_bytes_max=2_000) as watched:
        assert await read(watched) == ["c1"]
        assert watched.observer.statistics().corrections_unreadable == 4
    assert sum("file of corrections" in each.message for each in caplog.records) == 1


async def test_one_cycle_reads_so_many_corrections_and_the_next_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "corrections.jsonl"
    path.write_text("".join(map(row, range(5))))
    async with watching(tmp_path / "data", corrections_path=str(path), corrections_per_cycle_max=2) as watched:
        assert [len(await read(watched)) for _ in range(4)] == [2, 4, 5, 5]


async def test_what_is_no_file_is_said_once_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with watching(tmp_path / "data", corrections_path=str(tmp_path)) as watched:
        assert await read(watched) == await read(watched) == []
    assert sum("corrections cannot be read" in each.message for each in caplog.records) == 1


async def test_a_damaged_day_is_passed_by_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with watching(tmp_path) as watched:
        await watched.say(endpoint="a", error="x")
        await watched.say(endpoint="b", error="x")
        watched.now += DAY_S
        await watched.say(endpoint="c", error="x")
    path = tmp_path / JournalName.OPERATIONS / "2026-11-30.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"endpoint":"a"', b'"endpoint":"z"'))
    async with watching(tmp_path, now=NOON + DAY_S, ring_operations_max=1) as watched:
        await watched.observer.cycle()
        assert {each.endpoint for each in watched.observer.failures} >= {"c"}
    assert any("goes on behind it" in each.message for each in caplog.records)
    findings = Findings()
    await check_operations(DataLayout(tmp_path), findings)
    assert len(findings.lines) == 1

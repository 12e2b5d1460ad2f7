"""Lines that threads and processes append: whole, in order, and gone when they are deleted."""

import json
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from central_command.training.corpus import TrainingCorpus
from central_command.training.records import TrainingDataError, TrainingRecord, record_line
from tests.server_process import REPOSITORY

AT = 1_796_000_000.0
DAY = "training_2026-11-30.jsonl"
APPENDING = """
import sys
from central_command.training.corpus import TrainingCorpus
from central_command.training.records import TrainingRecord
corpus = TrainingCorpus(sys.argv[1])
for n in range(int(sys.argv[2])):
    record = TrainingRecord(f"{sys.argv[3]}-{n}", sys.argv[3], "s", 1_796_000_000.0, "code", "prompt", "x" * 5_000)
    corpus.add_record(record)
    print(record.record_id, flush=True)
"""


def record(record_id: str, user_id: str = "u", **changed: Any) -> TrainingRecord:
    """A record of one day."""
    members = {"session_id": "s", "timestamp": AT, "domain": "code", "content_type": "prompt", "content": "text"}
    return TrainingRecord(record_id=record_id, user_id=user_id, **{**members, **changed})


def appending(folder: Path, count: int, user_id: str) -> "subprocess.Popen[str]":
    """A process that appends, and says the id of each record once it is on disk."""
    return subprocess.Popen(
        [sys.executable, "-c", APPENDING, str(folder), str(count), user_id],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )


def ids_in(folder: Path) -> list[str]:
    """The ids of all lines, each of which must be a whole one."""
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.jsonl")))
    assert text == b"" or text.endswith(b"\n")
    return [json.loads(line)["record_id"] for line in text.splitlines()]


def test_threads_and_processes_append_whole_lines(tmp_path: Path) -> None:
    corpus = TrainingCorpus(tmp_path)
    other = appending(tmp_path, 40, "other")
    try:
        with ThreadPoolExecutor(8) as pool:
            for each in [pool.submit(corpus.add_record, record(f"u-{n}")) for n in range(80)]:
                each.result()
        assert other.wait(60) == 0
    finally:
        other.kill()
        other.communicate()
    assert sorted(ids_in(tmp_path)) == sorted([f"u-{n}" for n in range(80)] + [f"other-{n}" for n in range(40)])


def test_a_process_killed_while_it_appends_leaves_every_line_that_it_was_told_is_there(tmp_path: Path) -> None:
    other = appending(tmp_path, 100_000, "killed")
    assert other.stdout is not None
    told = [other.stdout.readline().strip() for _ in range(20)]
    other.send_signal(signal.SIGKILL)
    told += [line.strip() for line in other.stdout if line.endswith("\n")]
    other.communicate()
    TrainingCorpus(tmp_path).add_record(record("after"))
    found = ids_in(tmp_path)
    assert found[: len(told)] == told
    assert len(found) <= len(told) + 2  # one may be there and not have been told
    assert found[-1] == "after"


@pytest.mark.parametrize("torn", [b"{", record_line(record("torn"))[:-1], b'{"content":"' + b"x" * 600_000])
def test_a_torn_line_is_cut_off_and_joins_no_other(tmp_path: Path, torn: bytes) -> None:
    corpus = TrainingCorpus(tmp_path)
    corpus.add_record(record("first"))
    with (tmp_path / DAY).open("ab") as file:
        file.write(torn)
    assert corpus.export_jsonl(tmp_path / "out") == 1
    assert sum(corpus.counts().values()) == 1
    corpus.add_record(record("second"))
    assert ids_in(tmp_path) == ["first", "second"]


def test_a_file_that_is_all_torn_begins_anew(tmp_path: Path) -> None:
    (tmp_path / DAY).write_bytes(b'{"record')
    TrainingCorpus(tmp_path).add_record(record("first"))
    assert ids_in(tmp_path) == ["first"]


def test_a_write_that_fails_leaves_nothing_of_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = TrainingCorpus(tmp_path)
    corpus.add_record(record("first"))
    written = os.pwritev

    def half(descriptor: int, buffers: list[bytes], offset: int) -> int:
        if offset > len(record_line(record("first"))):
            raise OSError(28, "No space left on device")
        return written(descriptor, [buffers[0][:10]], offset)

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwritev", half)
        with pytest.raises(OSError, match="No space left"):
            corpus.add_record(record("second"))
    assert ids_in(tmp_path) == ["first"]
    corpus.add_record(record("third"))
    assert ids_in(tmp_path) == ["first", "third"]


def test_a_record_goes_to_the_file_of_its_utc_day(tmp_path: Path) -> None:
    corpus = TrainingCorpus(tmp_path)
    with corpus.writing() as writer:
        writer.append([record("a", timestamp=AT), record("b", timestamp=AT - 86_400), record("c", timestamp=AT)])
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == ["training_2026-11-29.jsonl", DAY]
    assert ids_in(tmp_path) == ["b", "a", "c"]


def test_deleting_a_user_takes_their_lines_out_and_no_others(tmp_path: Path) -> None:
    corpus = TrainingCorpus(tmp_path)
    for day in range(3):
        for n in range(3):
            corpus.add_record(record(f"{day}-{n}", f"user{n}", timestamp=AT + day * 86_400, content="of user1"))
    corpus.add_record(record("last", "user1", timestamp=AT + 5 * 86_400))
    with (tmp_path / DAY).open("ab") as file:
        file.write(b'{"a damaged line":"user1"\n{"another":"user2"\n\n{"record_id":"torn","user_id":"user1","cont')
    assert corpus.delete_user("user1") == 5
    text = b"".join(path.read_bytes() for path in tmp_path.glob("*.jsonl"))
    assert b'"user1"' not in text
    assert b'{"another":"user2"\n' in text
    assert not (tmp_path / "training_2026-12-05.jsonl").exists()
    assert corpus.export_jsonl(tmp_path / "out") == 6
    assert corpus.delete_user("user1") == 0
    for path in tmp_path.glob("*.jsonl"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("user_id", ["zoë", 'a"b\\c', "a\nb", "\u2028"])
def test_deleting_finds_a_user_however_their_id_is_escaped(tmp_path: Path, user_id: str) -> None:
    corpus = TrainingCorpus(tmp_path)
    corpus.add_record(record("own", user_id))
    line = json.loads(record_line(record("foreign", user_id)))
    with (tmp_path / DAY).open("a") as file:
        file.write(json.dumps(line) + "\n")
    assert corpus.delete_user(user_id) == 2


def test_deleting_loses_nothing_that_others_append_meanwhile(tmp_path: Path) -> None:
    corpus = TrainingCorpus(tmp_path)
    other = appending(tmp_path, 60, "other")
    try:
        deleted = 0
        for n in range(20):
            corpus.add_record(record(f"u-{n}"))
            deleted += corpus.delete_user("u")
        assert other.wait(60) == 0
    finally:
        other.kill()
        other.communicate()
    assert deleted == 20
    assert ids_in(tmp_path) == [f"other-{n}" for n in range(60)]


def test_a_deletion_that_fails_leaves_the_files_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = TrainingCorpus(tmp_path)
    corpus.add_record(record("a", "u"))
    corpus.add_record(record("b", "v"))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwritev", full)
        with pytest.raises(OSError, match="No space left"):
            corpus.delete_user("u")
    assert ids_in(tmp_path) == ["a", "b"]
    assert {path.name for path in tmp_path.iterdir()} == {DAY, "home", "lock"}
    (tmp_path / "rewritten.draft").write_text("what a killed process left")
    assert corpus.delete_user("u") == 1
    assert {path.name for path in tmp_path.iterdir()} == {DAY, "home", "lock"}


def test_whoever_holds_the_lock_for_too_long_is_named_in_one_sentence(tmp_path: Path) -> None:
    corpus = TrainingCorpus(tmp_path, lock_timeout_s=0)
    with TrainingCorpus(tmp_path).writing(), pytest.raises(TrainingDataError, match="another process has written"):
        corpus.add_record(record("a"))
    corpus.add_record(record("a"))


def test_an_export_that_fails_leaves_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = TrainingCorpus(tmp_path / "data")
    corpus.add_record(record("a"))
    output = tmp_path / "out.jsonl"
    output.write_text("before")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(OSError, match="No space left"):
        corpus.export_jsonl(output)
    assert output.read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"data", "home", "out.jsonl"}


def test_links_are_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("a file of someone else")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / DAY).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        TrainingCorpus(folder).add_record(record("a"))
    output = tmp_path / "out"
    output.symlink_to(victim)
    assert TrainingCorpus(tmp_path / "none").export_jsonl(output) == 0
    assert victim.read_text() == "a file of someone else"


def test_lines_that_are_no_records_are_passed_over_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = TrainingCorpus(tmp_path)
    corpus.add_record(record("a"))
    with (tmp_path / DAY).open("ab") as file:
        file.write(b"\nno json\n[1]\n\xff\xfe\n" + b"[" * 10_000 + b"\n")
    corpus.add_record(record("b"))
    assert corpus.export_jsonl(tmp_path / "out") == 2
    assert "has 5 line(s) that are no records" in caplog.text


def test_a_text_with_half_a_surrogate_pair_is_written_as_json(tmp_path: Path) -> None:
    line = record_line(record("a", content="cut \ud83d", metadata={"\ude00": ["\ud83d\ude00"]}))
    assert json.loads(line)["content"] == "cut \ufffd"
    assert json.loads(line)["metadata"] == {"\ufffd": ["😀"]}

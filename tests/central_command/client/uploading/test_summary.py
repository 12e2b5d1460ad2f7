"""What an upload of many files says in the end: sums, and what failed, by reason."""

import json
import re
from pathlib import Path

from central_command.client.contract.placing import Placing
from central_command.client.uploading.summary import Usual, describe_failed, lines_of_failures
from tests.central_command.client.uploading.conftest import Command

DAY_S = 86_400.0


def test_what_failed_is_grouped_by_reason() -> None:
    """The most frequent first; the first three names, whole paths where several have one name."""
    failures = [
        *((Path(f"/f/{n}.jsonl"), "no steps.") for n in range(20)),
        (Path("/f/a/s.jsonl"), "too large."),
        (Path("/f/b/s\x1b.jsonl"), "too large."),
        (Path("/f/c/s.jsonl"), "refused: it is x: y."),
    ]
    assert list(lines_of_failures(failures[20:] + failures[:20])) == [
        "  20 file(s): no steps: 0.jsonl, 1.jsonl, 2.jsonl and 17 more",
        r"  2 file(s): too large: /f/a/s.jsonl, s\x1b.jsonl",
        "  1 file(s): refused: it is x: y: /f/c/s.jsonl",
    ]


def test_not_every_reason_of_thousands_is_said() -> None:
    failures = [(Path(f"{n}.jsonl"), f"line {n} is wrong.") for n in range(1_000)]
    lines = list(lines_of_failures(failures))
    assert len(lines) == 21
    assert lines[-1] == "  980 more, each for a reason of its own"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    file, folder = (tmp_path / "s.jsonl", "x"), (tmp_path, "x")
    assert describe_failed([file], of=7) == "Error: 1 of 7 file(s) were not delivered whole."
    assert describe_failed([file], of=7, untried=3, is_planned=True) == "Error: 4 of 7 file(s) would not be delivered."
    assert describe_failed([folder], of=1) == "Error: 1 folder(s) hold no session file, or cannot be searched."
    assert describe_failed([folder, file], of=7) == (
        "Error: 1 of 6 file(s) were not delivered whole, and 1 folder(s) hold no session file, or cannot be searched."
    )
    assert list(lines_of_failures([folder, file])) == [f"  1 file(s), 1 folder(s): x: {tmp_path.name}, s.jsonl"]


def test_what_is_usual_is_counted() -> None:
    """What is not is said all the same: a session that is compressed."""
    usual = Usual(of_each=False)
    for n in range(1, 4):
        assert list(usual.left_out({"snapshot": n, "meta": 1})) == []
        assert list(usual.shift(Placing(from_s=0.0, to_s=n * DAY_S))) == []
    assert list(usual.left_out({})) == list(usual.shift(Placing())) == []
    (compressed,) = usual.shift(Placing(from_s=0.0, to_s=DAY_S, factor=0.5))
    assert "its distances are 50.0% of the real" in compressed
    kept = "so that the last step of each is now; distances between steps are kept"
    assert list(usual.lines()) == [
        "Left out of 3 file(s), as no steps: 6 snapshot, 3 meta; --verbose says it of each file",
        f"Of 3 file(s) times shifted by 1 day, 0:00:00 to 3 days, 0:00:00, {kept}",
    ]
    assert list(Usual(of_each=False).lines()) == []


def session_of(name: str) -> str:
    """A session's file, with a record that is no step."""
    user = {"type": "user", "uuid": "u", "sessionId": name, "timestamp": "2025-01-01T00:00:00Z"}
    said = {"role": "assistant", "model": "claude-opus-4-6", "content": [{"type": "text", "text": f"yes, {name}"}]}
    events = [
        {"type": "file-history-snapshot", "messageId": "1", "snapshot": {}},
        {**user, "message": {"role": "user", "content": f"do {name}"}},
        {**user, "type": "assistant", "uuid": "v", "message": said},
    ]
    return "".join(f"{json.dumps(event)}\n" for event in events)


def test_many_files_are_said_in_sum_and_what_failed_stands_last(command: Command, tmp_path: Path) -> None:
    """Also in a dry run; `--verbose` says all of each."""
    for n in range(4):
        (tmp_path / f"{n}.jsonl").write_text(session_of(f"s{n}"))
    for n in range(2):
        (tmp_path / f"wrong{n}.jsonl").write_text("no json\n")
    command.server.credit |= {"copied_steps": 1, "copied_from": "sess_x"}
    verbose = command.run(tmp_path, "--dry-run", "--verbose")
    planned = command.run(tmp_path, "--dry-run")
    uploaded = command.run(tmp_path)
    note = "no steps of this session, and left out: 1 file-history-snapshot"
    assert verbose.stdout.count(note) == verbose.stdout.count("times shifted forward by") == 4
    for result, heading, sum_ in (
        (planned, "Would not be delivered:", "Error: 2 of 6 file(s) would not be delivered."),
        (uploaded, "Not delivered:", "Error: 2 of 6 file(s) were not delivered whole."),
    ):
        assert result.exit_code == 1
        assert note not in result.stdout
        assert "Left out of 4 file(s), as no steps: 4 file-history-snapshot; --verbose says it" in result.stdout
        assert "Of 4 file(s) times shifted by " in result.stdout
        first, why, last = result.stderr.splitlines()[-3:]
        assert (first, last) == (heading, sum_)
        assert re.fullmatch(r"  2 file\(s\): no steps to upload: .*: wrong0\.jsonl, wrong1\.jsonl", why)
    assert "\n6 file(s)\t4 session(s)\t8\t8\t50\t4 of the steps are copies\t\n" in uploaded.stdout
    assert command.run(tmp_path / "0.jsonl").stdout.count(note) == 1

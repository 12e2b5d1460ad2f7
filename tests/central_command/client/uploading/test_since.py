"""`upload --since`: what was not changed since is passed over, and what was begun is not left half."""

import os
import shutil
import time
import zipfile
from pathlib import Path

import httpx
import pytest

from central_command.client.uploading.sources import Found, changed_since
from tests.central_command.client.uploading.conftest import Command

DAY_S = 86_400


def aged(path: Path, days: float) -> Path:
    """The file, changed so many days ago for the last time."""
    at = time.time() - days * DAY_S
    os.utime(path, (at, at))
    return path


@pytest.fixture
def folder(tmp_path: Path, transcripts: Path) -> Path:
    """Two sessions, of which one was not changed for 40 days."""
    found = tmp_path / "projects"
    found.mkdir()
    for name, days in (("short", 40), ("subagent", 1)):
        aged(shutil.copy(transcripts / f"{name}.jsonl", found / f"{name}.jsonl"), days)
    return found


def test_what_was_not_changed_since_is_passed_over_and_counted(command: Command, folder: Path) -> None:
    """In a dry run as in an upload; also where the file is named."""
    for since in ("30d", time.strftime("%Y-%m-%d", time.gmtime(time.time() - 30 * DAY_S))):
        planned = command.run(folder, "--since", since, "--dry-run")
        assert planned.exit_code == 0, planned.output
        assert "1 file(s) have not changed since " in planned.stdout
        assert ("subagent.jsonl" in planned.stdout, "short.jsonl" in planned.stdout) == (True, False)
    sent = command.run(folder / "short.jsonl", folder / "subagent.jsonl", "--since", "30d")
    assert (sent.exit_code, "short.jsonl" in sent.stdout) == (0, False)
    assert "1 file(s) have not changed since " in sent.stdout
    assert len(command.server.bodies("/v1/sessions/open")) == 1
    assert command.run(folder, "--since", "6w").exit_code == 0
    assert len(command.server.bodies("/v1/sessions/open")) == 2, "another time takes the other, too"


def test_where_nothing_was_changed_nothing_is_to_be_done(command: Command, folder: Path) -> None:
    """Nobody is asked, nothing is agreed to, and nothing has failed."""
    for more in ((), ("--dry-run",)):
        done = command.run(folder, "--since", "1h", *more)
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines()[0].startswith("2 file(s) have not changed since ")
        assert (done.stderr, "agreement" in done.output) == ("", False)
    assert command.run(folder, "--since", "1h", "--quiet").output == ""
    assert command.server.requests == []


def test_what_an_earlier_upload_has_begun_is_sent_whatever_its_age(command: Command, folder: Path) -> None:
    """It is in the spool, and the server may close its session."""

    async def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    (folder / "subagent.jsonl").unlink()
    command.server.faults.append(gone)
    assert command.run(folder).exit_code == 1
    again = command.run(folder, "--since", "1h")
    assert (again.exit_code, "accepted: 2 of 2 envelopes" in again.stdout) == (0, True), again.output
    assert "1 file(s) have not changed" in command.run(folder, "--since", "1h").stdout, "delivered, it is old"


@pytest.mark.parametrize("since", ["", "soon", "0d", "30", "2026-13-45", "2026-02-30", "2026-11-20T00:00:00Z", "-1d"])
def test_what_is_no_time_is_refused_in_a_sentence(command: Command, folder: Path, since: str) -> None:
    refused = command.run(folder, f"--since={since}")
    assert refused.exit_code == 2
    assert refused.stderr.splitlines()[-1] == (
        "Error: Invalid value for '--since': it takes a whole number and h, d or w, such as 90d, "
        "or a UTC day such as 2026-11-20."
    )


def test_a_day_that_has_not_come_is_refused(command: Command, folder: Path) -> None:
    """Else nothing would ever be sent, without a word."""
    refused = command.run(folder, "--since", "2090-01-01")
    assert (refused.exit_code, "that day has not come yet." in refused.stderr) == (2, True)


def test_a_file_counts_with_its_archive_and_what_cannot_be_asked_is_kept(tmp_path: Path) -> None:
    """Folders that cannot be searched, and links that lead nowhere, are said each time."""
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as writing:
        writing.writestr("deep/one.jsonl", "{}")
    (tmp_path / "loop").symlink_to("loop")
    every = [
        Found(Path(f"{archive}/deep/one.jsonl"), named=False),
        Found(tmp_path, named=False, problem="it cannot be searched."),
        Found(tmp_path / "loop", named=True),
    ]
    since_s = time.time() - DAY_S
    assert changed_since(every, since_s, besides=()) == every
    aged(archive, 2)
    assert changed_since(every, since_s, besides=()) == every[1:]
    assert changed_since(every, since_s, besides={str(every[0].path)}) == every

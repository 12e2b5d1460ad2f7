"""The job that makes days cold, in a server that is killed meanwhile: whatever reads old days reads the same."""

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.curated import curation, leave_session
from tests.indexed import index
from tests.running_service import Clock, running, settings_with
from tests.server_process import ServerProcess, request, run_command
from tests.submitted_texts import leave_token

DAY_S = 86_400
DAYS = 5
WAIT_S_MAX = 60.0
COLD = ("envelopes", "trajectories", "corpus")
JOBS = "/api/admin/jobs"
QUEUE = f"{JOBS}/queues/tier-management"


async def leave_days(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a closed session of each of some days that are long over, each in the corpus since its day."""
    clock = Clock()
    clock.now -= 40 * DAY_S
    for day in range(DAYS):
        async with running(root, settings=settings_with(), clock=clock) as run:
            await leave_session(run, f"sess_{day}", [f"the word of day{day}", "and an answer"])
        monkeypatch.setattr("tests.curated.NOW", clock.now)
        async with curation(root) as (curating, _):
            await curating.catch_up()
        clock.now += DAY_S


class Reading:
    """A server, asked with a token that may see everything."""

    def __init__(self, server: ServerProcess, token: str) -> None:
        self.server = server
        self._headers = {"Authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str) -> Any:
        with closing(self.server.connect()) as connection:
            status, members = request(connection, method, path, headers=self._headers)
        assert status == 200, (path, members)
        return members

    def page(self, path: str) -> str:
        with closing(self.server.connect()) as connection:
            connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            said = answer.read().decode()
        assert answer.status == 200, (path, said)
        return said

    def everything(self) -> Any:
        """What API and pages show of all days."""
        for day in range(DAYS):
            assert f"the word of day{day}" in self.page(f"/sessions/sess_{day}")
        found = self.ask("GET", "/api/search?q=answer")["hits"]
        assert len(found) == DAYS
        assert all(any(part["hit"] for part in hit["snippet"]) for hit in found), "each text was read"
        return (
            [self.ask("GET", f"/api/sessions/sess_{day}/history") for day in range(DAYS)],
            found,
            self.page("/api/corpus/trajectories"),
        )

    def wait(self, queue: str, status: str) -> None:
        """Wait until a job of the queue has a status."""
        deadline = time.monotonic() + WAIT_S_MAX
        while time.monotonic() < deadline:
            if any(job["queue"] == queue for job in self.ask("GET", f"{JOBS}?status={status}")["jobs"]):
                return
            time.sleep(0.05)
        raise AssertionError(f"no job of {queue} was {status} within {WAIT_S_MAX} s: {self.ask('GET', JOBS)}")


def exported(root: Path, target: Path) -> bytes:
    done = run_command("export", str(target), "--data-dir", str(root), "--format", "jsonl", cwd=root.parent)
    assert done.returncode == 0, done.stderr
    return b"".join(path.read_bytes() for path in sorted((target / "jsonl").iterdir()))


def test_a_server_killed_while_days_are_made_cold_ends_it_later_and_everything_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, archive = tmp_path / "data", tmp_path / "archive"
    archive.mkdir()
    trio.run(leave_days, root, monkeypatch)
    index(root)
    token, _ = leave_token(root, "admin", "export", "read", now=time.time())
    rows = exported(root, tmp_path / "before")
    settings = {
        "CENTRAL_COMMAND__TIERS__COMPRESS_AFTER_DAYS": "1",
        "CENTRAL_COMMAND__TIERS__ARCHIVE_DIR": str(archive),
        "CENTRAL_COMMAND__JOBS__POLL_S": "0.2",
        "CENTRAL_COMMAND__JOBS__LEASE_S": "1",
    }
    with ServerProcess(root, settings=settings) as server:
        reading = Reading(server, token)
        before = reading.everything()
        reading.ask("POST", f"{QUEUE}/run")
        while not list(archive.rglob("*.zst")):
            time.sleep(0.002)
        server.kill()
        server.start()
        assert reading.everything() == before
        reading.wait("tier-management", "completed")
        assert reading.everything() == before
        server.terminate()
    for name in COLD:
        kept = sorted(path.name for path in (root / name).iterdir())
        assert [each.endswith(".jsonl.archived") for each in kept] == [True] * (DAYS - 1) + [False], kept
        assert len(list((archive / name).iterdir())) == DAYS - 1
    assert exported(root, tmp_path / "after") == rows
    verified = run_command("verify", "--data-dir", str(root), cwd=tmp_path)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    backed_up = run_command("backup", str(tmp_path / "backup"), "--data-dir", str(root), cwd=tmp_path)
    assert backed_up.returncode == 0, backed_up.stderr
    files = [each["path"] for each in json.loads((tmp_path / "backup" / "manifest.json").read_text())["files"]]
    assert sum(path.endswith(".zst") for path in files) == len(COLD) * (DAYS - 1)

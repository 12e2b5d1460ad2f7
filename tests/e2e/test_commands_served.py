"""The commands against a real server: real agents' sessions go in at one end and credited trajectories come out."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.acknowledged import lines_of, points_of, rows, tables
from tests.crash.consistency import wait_until_projected
from tests.server_process import INGEST, OPEN, REPOSITORY, ServerProcess, run_command
from tests.signing_client import SigningClient, dumps

TRANSCRIPTS = sorted((REPOSITORY / "tests" / "transcripts").glob("*.jsonl"))


class Uploaded:
    """A server that took all transcripts in, and what `upload` said."""

    def __init__(self, server: ServerProcess, output: str) -> None:
        self.server = server
        self.root = server.data_directory
        self.output = output
        self.session_ids: list[str] = re.findall(r"sess_[0-9a-f-]{36}", output)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command on the server's data directory."""
        command, *options = arguments
        done = run_command(command, "--data-dir", str(self.root), *options, cwd=self.root.parent)
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture(scope="module")
def uploaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uploaded]:
    """One upload of all transcripts, for all tests here."""
    folder = tmp_path_factory.mktemp("served")
    with ServerProcess(folder / "data") as server:
        settings = {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}
        files = [str(path) for path in TRANSCRIPTS]
        done = run_command("upload", *files, "--url", server.url, cwd=folder, settings=settings)
        assert done.returncode == 0, done.stderr + done.stdout
        yield Uploaded(server, done.stdout)


def test_every_envelope_of_every_transcript_is_accepted(uploaded: Uploaded) -> None:
    """And what is printed as credited is what the steps on disk are worth."""
    accepted = re.findall(r"accepted: (\d+) of (\d+) envelopes, (\d+) of (\d+) steps", uploaded.output)
    assert len(accepted) == len(uploaded.session_ids) >= len(TRANSCRIPTS)
    assert all(one[0] == one[1] and one[2] == one[3] for one in accepted)
    credited = re.findall(r"credited: ([\d,.]+) points for (\d+) steps", uploaded.output)
    for session_id, (points, steps) in zip(uploaded.session_ids, credited, strict=True):
        lines = [json.loads(line) for line in lines_of(uploaded.root, "envelopes")]
        chunks = [line for line in lines if line["session_id"] == session_id and "trajectory_log" in line]
        assert float(points.replace(",", "")) == points_of(chunks)
        assert int(steps) == sum(len(chunk["trajectory_log"]) for chunk in chunks)
    assert sum(int(one[0]) for one in accepted) == len(lines_of(uploaded.root, "envelopes"))
    assert lines_of(uploaded.root, "refused") == []


def test_show_prints_the_trajectory_and_its_line(uploaded: Uploaded) -> None:
    """Readable, only the steps asked for, or the line itself as it is stored."""
    assert uploaded.session_ids
    for session_id in uploaded.session_ids:
        shown = uploaded.run("show", session_id, "--steps", "1-3")
        assert shown.returncode == 0, shown.stderr
        assert session_id in shown.stdout
        line = json.loads(uploaded.run("show", session_id, "--json").stdout)
        assert line["session_id"] == session_id
        assert len(line["trajectory_log"]) == line["total_steps"] > 3


def test_show_of_what_is_not_there_is_one_sentence(uploaded: Uploaded) -> None:
    """An unknown session, and one that is still open: exit status 1."""
    client = SigningClient("sess_still_open")
    answer = uploaded.server.post(OPEN, dumps(client.opening()).encode())
    client.opened(answer.members["server_public_key"])
    assert uploaded.server.post(INGEST, client.chunk()).members["accepted"] is True
    for session_id, word in (("sess_nobody", "no session"), ("sess_still_open", "still open")):
        done = uploaded.run("show", session_id)
        assert done.returncode == 1
        assert word in done.stderr
        assert done.stderr.count("\n") == 1


def test_sessions_and_stats_say_what_the_server_says(uploaded: Uploaded) -> None:
    """The tables, their JSON, and the endpoints agree."""
    wait_until_projected(uploaded.root)
    table = uploaded.run("sessions")
    assert table.returncode == 0
    listed = [json.loads(line) for line in uploaded.run("sessions", "--json", "--status", "closed").stdout.splitlines()]
    assert {row["session_id"] for row in listed} == set(uploaded.session_ids)
    assert all(session_id in table.stdout for session_id in uploaded.session_ids)
    assert uploaded.run("stats").returncode == 0
    stats = json.loads(uploaded.run("stats", "--json").stdout)
    assert stats["summary"] == uploaded.server.get("/v1/stats/summary").members
    for name in ("daily", "models", "providers", "leaderboard"):
        assert stats[name] == uploaded.server.get(f"/v1/stats/{name}").members
    credited = rows(uploaded.root / "ledger.db", "SELECT sum(points) FROM credits")[0][0]
    assert stats["summary"]["totalPointsAwarded"] == credited > 0


def test_an_upload_to_nobody_fails_in_a_sentence(tmp_path: Path) -> None:
    """No server, a file without steps: exit status 1, and what was wrong."""
    empty = tmp_path / "empty.jsonl"
    empty.write_text("{}\n")
    settings = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    done = run_command("upload", str(empty), "--url", "http://127.0.0.1:1", cwd=tmp_path, settings=settings)
    assert done.returncode == 1
    assert "no steps" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_verify_and_rebuild(uploaded: Uploaded) -> None:
    """`verify` also while the server runs, `rebuild` only after it: the same rows, and verified again.

    The last test here, as it ends the server.
    """
    wait_until_projected(uploaded.root)
    assert uploaded.run("verify").stdout == "all is well\n"
    assert uploaded.run("rebuild").returncode == 2
    assert uploaded.server.terminate() == 0
    before = tables(uploaded.root)
    rebuilt = uploaded.run("rebuild")
    assert rebuilt.returncode == 0
    count = len(lines_of(uploaded.root, "envelopes"))
    assert f"(envelopes {count}, " in rebuilt.stdout
    assert tables(uploaded.root) == before
    verified = uploaded.run("verify")
    assert (verified.returncode, verified.stdout) == (0, "all is well\n")
    uploaded.server.start()

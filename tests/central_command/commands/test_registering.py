"""`consent stats`, `events`, `record` and `import`: an operator sees what contributors said, and records more."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from actors.consent.desk import OpeningClaim
from central_command.client.contract.contributor_keys import make_key
from central_command.commands.cli import main
from persistence.files.lock import single_instance
from persistence.format.consent_events import subject_digest
from tests.running_service import running
from tests.signing_client import CONTRIBUTOR

OTHER = "f" * 32
AT = "2026-11-20T10:12:22Z"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data directory with a session of one contributor, whose first envelope is recorded as consent."""

    async def leave() -> None:
        async with running(tmp_path / "data") as server:
            session = await server.open("sess_a")
            await server.send(session.chunk())
            await server.projected()

    trio.run(leave)
    return tmp_path / "data"


def run(root: Path, *arguments: object) -> Result:
    result = CliRunner().invoke(main, ["consent", *map(str, arguments), "--data-dir", str(root)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def events(root: Path, contributor: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(root, "events", contributor, "--json").stdout.splitlines()]


def counts(root: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads(run(root, "stats", "--json").stdout)["states"]
    return {state: count for state, count in found.items() if count}


def lines(tmp_path: Path, *said: object) -> Path:
    file = tmp_path / "said.jsonl"
    file.write_bytes(b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in said))
    return file


def said(contributor: str, state: str, at: str = AT, **more: object) -> dict[str, object]:
    return {"contributor": contributor, "state": state, "version": "1.0", "at": at, **more}


def test_what_an_operator_records_counts_and_is_seen(root: Path) -> None:
    """With its source; once more changes nothing; by the id or by its digest."""
    assert counts(root) == {"given": 1}
    assert run(root, "events", OTHER).exit_code == 1
    recorded = run(root, "record", CONTRIBUTOR.upper(), "withdrawn")
    assert recorded.exit_code == 0, recorded.output
    assert run(root, "record", subject_digest(CONTRIBUTOR), "withdrawn").stdout.endswith(" says so already\n")
    assert [(each["state"], each["source"]) for each in events(root, CONTRIBUTOR)] == [
        ("given", "client"),
        ("withdrawn", "operator"),
    ]
    assert counts(root) == {"withdrawn": 1}
    told = run(root, "stats").stdout
    assert "withdrawn\t1\n" in told
    assert "events\t2\n" in told
    assert CONTRIBUTOR not in run(root, "events", CONTRIBUTOR).stdout
    assert CliRunner().invoke(main, ["verify", "--data-dir", str(root)]).exit_code == 0


def test_an_operator_records_for_a_contributor_with_a_key(root: Path, tmp_path: Path) -> None:
    """Whoever has the data directory needs no signature."""
    key = make_key(tmp_path, OTHER)

    async def register() -> None:
        async with running(root) as run_:
            claim = key.claim("sess_k", "BHk=")
            opening = OpeningClaim(claim.contributor_id, claim.contributor_key, claim.contributor_signature)
            assert isinstance(await run_.service.desk.claimed("sess_k", "BHk=", opening), str)

    trio.run(register)
    assert run(root, "record", OTHER, "withdrawn").exit_code == 0
    assert counts(root) == {"given": 1, "withdrawn": 1}
    assert "keys\t1\n" in run(root, "stats").stdout


def test_what_was_said_elsewhere_is_taken_in_once_and_undoes_nothing_later(root: Path, tmp_path: Path) -> None:
    file = lines(
        tmp_path,
        said(OTHER, "given", notice_version="7", notice_sha256="ab" * 32),
        said(OTHER, "withdrawn", "2026-11-20T12:12:22+01:00"),
        said(OTHER, "given", "2026-11-20T10:30:00Z"),
        said(CONTRIBUTOR, "withdrawn"),
    )
    done = run(root, "import", file)
    assert (done.exit_code, done.stdout) == (0, "2 event(s) recorded of 4 line(s); the others say nothing new.\n")
    first, last = events(root, OTHER)
    assert (first["at"], first["state"], first["source"]) == ("2026-11-20T10:12:22.000000Z", "given", "import")
    assert (first["notice_version"], first["notice_sha256"]) == ("7", "ab" * 32)
    assert (last["at"], last["state"]) == ("2026-11-20T11:12:22.000000Z", "withdrawn")
    assert counts(root) == {"given": 1, "withdrawn": 1}, "what somebody said here, later, stands"
    assert run(root, "import", file).stdout.startswith("0 event(s) recorded of 4 line(s)")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (b"{", "Input data was truncated"),
        (b"[]", "Expected `object`"),
        (b"\xff", "line 2: "),
        (said("short", "given"), "contributor"),
        (said(OTHER, "maybe"), "Invalid enum value 'maybe'"),
        (said(OTHER, "given", "yesterday"), "Invalid RFC3339"),
        (said(OTHER, "given", "2026-11-20T10:12:22"), "timezone"),
        (said(OTHER, "given", "2999-01-01T00:00:00Z"), "at must be a time between 1970 and now"),
        (said(OTHER, "given", "1969-01-01T00:00:00Z"), "at must be a time between 1970 and now"),
        (said(OTHER, "given", "0001-01-01T00:00:00Z"), "at must be a time between 1970 and now"),
        (said(OTHER, "given", notice_version="1"), "go together"),
        (said(OTHER, "given", notice_version="1", notice_sha256="x"), "notice_sha256"),
        (said(OTHER, "given", more=1), "unknown field `more`"),
        (said(OTHER, "given", version=""), "version"),
        (b"{" + b" " * 9_000 + b"}\n", "a line has at most 8,192 bytes"),
    ],
)
def test_a_wrong_line_is_said_and_nothing_is_recorded(root: Path, tmp_path: Path, wrong: object, sentence: str) -> None:
    result = run(root, "import", lines(tmp_path, said(OTHER, "given"), wrong))
    assert result.exit_code == 2
    assert "line 2: " in result.stderr
    assert sentence in result.stderr
    assert result.stderr.endswith("; nothing was recorded.\n")
    assert result.stderr.count("\n") == 1
    assert counts(root) == {"given": 1}


def test_beside_a_server_is_looked_and_nothing_recorded(root: Path, tmp_path: Path) -> None:
    with single_instance(root):
        assert run(root, "stats").exit_code == 0
        assert len(events(root, CONTRIBUTOR)) == 1
        for arguments in (("record", OTHER, "given"), ("import", lines(tmp_path, said(OTHER, "given")))):
            result = run(root, *arguments)
            assert (result.exit_code, "is in use by process" in result.stderr) == (2, True)
            assert result.stderr.count("\n") == 1
    assert counts(root) == {"given": 1}


@pytest.mark.parametrize("arguments", [("record", "x", "given"), ("record", OTHER, "maybe"), ("events", "sha256:x")])
def test_wrong_arguments_are_refused(root: Path, arguments: tuple[str, ...]) -> None:
    assert run(root, *arguments).exit_code == 2


def test_a_folder_that_is_no_data_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments in (("stats",), ("events", OTHER)):
        result = run(tmp_path / "empty", *arguments)
        assert (result.exit_code, "is not a server's data directory" in result.stderr) == (2, True)

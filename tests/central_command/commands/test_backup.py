"""`backup` and `restore` as an operator meets them: what they print, exit statuses, one sentence for a failure."""

import json
import re
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from actors.sessions.outcomes import Accepted
from central_command.commands import cli, upkeep
from persistence.files.lock import single_instance
from persistence.keys.sealing import Sealer, load_master_key
from tests.running_service import running


def run(*arguments: str | Path) -> Result:
    """Run `central-command` with these arguments."""
    return CliRunner().invoke(cli.main, [str(each) for each in arguments])


async def _fill(root: Path) -> None:
    async with running(root) as service:
        client = await service.open()
        assert isinstance(await service.send(client.chunk()), Accepted)


@pytest.fixture(autouse=True)
def _data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in a folder with a data directory that holds one session, and without settings from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CENTRAL_COMMAND_MASTER_KEY", raising=False)
    trio.run(_fill, tmp_path / "data")


def test_a_backup_and_its_restore_say_what_they_hold() -> None:
    """How much, of when, and that the key is not in it, with its id and where to put it."""
    done = run("backup", "copy")
    assert done.exit_code == 0, done.output
    assert re.search(
        r"copy holds the journals' lines \(envelopes 1, trajectories 0, refused 0\) and the databases", done.output
    )
    key_id = Sealer(load_master_key(Path("data/keys"), {})).key_id
    assert f"It does not hold the master key (id {key_id})" in done.output
    done = run("restore", "copy", "--data-dir", "again")
    assert done.exit_code == 0, done.output
    assert f"Put the one with the id {key_id} into again/keys/master.key" in done.output
    assert done.output.splitlines()[-1] == "all is well"
    assert run("verify", "--data-dir", "again").output == "all is well\n"


def test_with_the_key_it_says_how_secret_that_is() -> None:
    """And `restore` then has nothing to ask for."""
    assert "as secret as the data directory itself" in run("backup", "copy", "--with-key").output
    done = run("restore", "copy", "--data-dir", "again")
    assert "master key" not in done.output
    assert Path("again/keys/master.key").read_bytes() == Path("data/keys/master.key").read_bytes()


def test_what_cannot_be_done_is_one_sentence_with_its_status() -> None:
    """2 when nothing was done, 3 when the backup is damaged; never a traceback, never a data directory."""
    assert run("backup", "copy").exit_code == 0
    Path("elsewhere").mkdir()
    cases: list[tuple[tuple[str, ...], int, str]] = [
        (("backup", "copy"), 2, "is not empty"),
        (("backup", "data/copy"), 2, "lies in the data directory"),
        (("backup", "no/where"), 2, "does not exist"),
        (("backup", "new", "--data-dir", "elsewhere"), 2, "is .* a server's data directory"),
        (("restore", "copy"), 2, "is not empty"),
        (("restore", "elsewhere", "--data-dir", "again"), 2, "is not a whole backup"),
        (("restore", "nowhere", "--data-dir", "again"), 2, "does not exist"),
    ]
    for arguments, status, sentence in cases:
        _check_refused(run(*arguments), status, sentence)
    with single_instance(Path("data")):
        _check_refused(run("restore", "copy"), 2, "is in use by process")
    manifest = json.loads(Path("copy/manifest.json").read_text())
    Path("copy/manifest.json").write_text(json.dumps(manifest | {"schemas": {"sessions.db": 9, "ledger.db": 1}}))
    _check_refused(run("restore", "copy", "--data-dir", "again"), 2, "newer version")
    Path("copy/manifest.json").write_text(json.dumps(manifest))
    with Path("copy/ledger.db").open("ab") as file:
        file.write(b"x")
    _check_refused(run("restore", "copy", "--data-dir", "again"), 3, "ledger.db was changed")
    Path("copy/ledger.db").unlink()
    _check_refused(run("restore", "copy", "--data-dir", "again"), 3, "ledger.db is missing")
    assert not Path("again").exists()
    assert not Path("new").exists()


def _check_refused(done: Result, status: int, sentence: str) -> None:
    assert done.exit_code == status, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    assert re.search(sentence, done.output.replace("\n", " ")), done.output
    assert "Traceback" not in done.output


def test_what_differs_is_listed_and_the_status_is_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data is there all the same."""

    async def differing(*_args: object, **_options: object) -> list[str]:
        await trio.lowlevel.checkpoint()
        return ["one thing", "another"]

    assert run("backup", "copy").exit_code == 0
    monkeypatch.setattr("persistence.upkeep.restoring.verify", differing)
    done = run("restore", "copy", "--data-dir", "again")
    assert done.exit_code == 1
    assert "one thing\nanother\n2 places where the stored data differs" in done.output
    assert Path("again/sessions.db").exists()


def test_a_long_copy_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """On stderr, so that stdout stays what it is."""
    monkeypatch.setattr(upkeep, "PROGRESS_S", 0.0)
    for done in (run("backup", "copy"), run("restore", "copy", "--data-dir", "again")):
        assert done.exit_code == 0
        assert re.search(r"^(journals|files), bytes: ([\d,]+) of \2$", done.stderr, re.MULTILINE), done.stderr
        assert "bytes: " not in done.stdout

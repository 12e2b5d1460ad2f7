"""Uploads in the name of a contributor with a key: signed where it is, told where it is not, and nothing is lost."""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from central_command.client.contract.contributor_keys import key_path, make_key
from central_command.client.uploading import upload
from central_command.client.uploading.upload import upload_command
from central_command.http.endpoints.sessions import BANNED

ID = "0123456789abcdef" * 2


class Machine:
    """One machine of a user: folders of its own, and the server in memory."""

    def __init__(self, home: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config = home / "config" / "central-command"
        self.state = home / "state"
        self._environment = {"XDG_CONFIG_HOME": str(home / "config"), "XDG_STATE_HOME": str(self.state)}
        self._monkeypatch = monkeypatch
        self.server = server

    def upload(self, *arguments: str | Path) -> Result:
        for name, value in self._environment.items():
            self._monkeypatch.setenv(name, value)
        return CliRunner().invoke(upload_command, [str(argument) for argument in arguments])

    def keep_id(self, contributor_id: str) -> None:
        self.config.mkdir(mode=0o700, parents=True)
        (self.config / "contributor_id").write_text(f"{contributor_id}\n")

    def sessions(self) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(self.state / "central-command" / "spool.db")) as connection:
            return connection.execute("SELECT state, problem FROM sessions ORDER BY rowid").fetchall()


@pytest.fixture
def machines(fake_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    for name in [name for name in os.environ if name.endswith("CENTRAL_URL")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(upload, "client_for", lambda _options: fake_server.client())
    return (Machine(tmp_path / f"machine_{n}", fake_server, monkeypatch) for n in range(9))


def opened(server: Any) -> list[dict[str, str]]:
    return [json.loads(body) for body in server.bodies("/v1/sessions/open")]


def test_a_new_contributor_registers_a_key_with_the_first_session(
    machines: Iterator[Machine], transcripts: Path
) -> None:
    """And all sessions after it are signed with the same one."""
    machine = next(machines)
    assert machine.upload(transcripts / "short.jsonl").exit_code == 0
    assert machine.upload(transcripts / "long.jsonl").exit_code == 0
    first, second = opened(machine.server)
    assert machine.server.keys == {first["contributor_id"]: first["contributor_key"]}
    assert second["contributor_key"] == first["contributor_key"]
    assert {envelope.get("contributor_id") for envelope in machine.server.envelopes} >= {first["contributor_id"]}


def test_an_older_server_takes_signed_openings_as_any(machines: Iterator[Machine], transcripts: Path) -> None:
    machine = next(machines)
    machine.server.knows_keys = False
    assert machine.upload(transcripts / "short.jsonl").exit_code == 0
    assert machine.server.keys == {}
    assert len(machine.server.envelopes) == 2


def test_an_id_of_several_machines_goes_on_without_a_key(machines: Iterator[Machine], transcripts: Path) -> None:
    """The installations of before there were keys: nobody is locked out, whoever comes first."""
    first, second = next(machines), next(machines)
    first.keep_id(ID)
    second.keep_id(ID)
    assert first.upload(transcripts / "short.jsonl").exit_code == 0
    assert second.upload(transcripts / "long.jsonl").exit_code == 0
    assert next(machines).upload(transcripts / "tool_heavy.jsonl", "--contributor-id", ID).exit_code == 0
    assert first.server.keys == {}
    assert {(each["contributor_id"], "contributor_key" in each) for each in opened(first.server)} == {(ID, False)}


def test_a_machine_with_the_id_and_without_the_key_loses_nothing(
    machines: Iterator[Machine], transcripts: Path
) -> None:
    """It is told before anything is sent what is missing and what to do; with the key, all goes out."""
    first, second = next(machines), next(machines)
    assert first.upload(transcripts / "short.jsonl").exit_code == 0
    contributor_id = (first.config / "contributor_id").read_text().strip()
    second.keep_id(contributor_id)
    told = [second.upload(transcripts / "long.jsonl") for _ in range(4)]
    assert [each.exit_code for each in told] == [1] * 4
    said = " ".join(told[0].stdout.split())
    assert f"this machine has no key of contributor {contributor_id[:8]}…" in said
    assert "`central-command contributor export FILE` where it is" in said
    assert contributor_id not in told[0].output
    assert len(first.server.envelopes) == 2
    assert second.sessions() == [("recording", "The session was not opened: The opening must be signed.")]
    shutil.copy(key_path(first.config, contributor_id), key_path(second.config, contributor_id))
    assert second.upload(transcripts / "long.jsonl").exit_code == 0
    assert sum(len(each.get("trajectory_log", [])) for each in second.server.envelopes[2:]) == 483


def test_another_key_than_the_registered_one_is_told(machines: Iterator[Machine], transcripts: Path) -> None:
    machine = next(machines)
    machine.keep_id(ID)
    make_key(machine.config, ID)
    machine.server.keys[ID] = "AAAA"
    result = machine.upload(transcripts / "short.jsonl", transcripts / "long.jsonl", "--at-once", "1")
    assert result.exit_code == 1
    said = " ".join(result.stdout.split())
    assert "Another key is registered; this machine has another key of contributor 01234567…" in said
    assert "1 more file(s) were not tried, because the server answers with status 403." in said
    assert machine.server.envelopes == []


@pytest.mark.parametrize("code", [{"code": "banned"}, {}], ids=["with its code", "of an earlier server"])
def test_who_is_banned_is_told_that_and_of_no_key(
    machines: Iterator[Machine], transcripts: Path, code: dict[str, str]
) -> None:
    machine = next(machines)
    machine.server.opening_refusal = {"error": BANNED, **code}
    result = machine.upload(transcripts / "short.jsonl", transcripts / "long.jsonl", "--at-once", "1")
    assert result.exit_code == 1
    said = " ".join(result.stdout.split())
    assert "the server's operator has banned it" in said
    assert "1 more file(s) were not tried, because the server answers with status 403." in said
    assert "key of contributor" not in said
    assert len(opened(machine.server)) == 1


@pytest.mark.parametrize(("code", "is_told"), [("not_signed", True), ("of_a_later_version", False)])
def test_what_to_do_for_a_key_is_told_where_the_code_asks_for_one(
    machines: Iterator[Machine], transcripts: Path, code: str, *, is_told: bool
) -> None:
    machine = next(machines)
    machine.server.opening_refusal = {"error": "It is refused.", "code": code}
    said = " ".join(machine.upload(transcripts / "short.jsonl").stdout.split())
    assert "It is refused" in said
    assert ("this machine has another key of contributor" in said) is is_told


def test_a_key_that_cannot_be_read_is_told_and_nothing_is_sent(machines: Iterator[Machine], transcripts: Path) -> None:
    """Unsigned, the server would refuse it, or credit what anybody may say."""
    machine = next(machines)
    machine.keep_id(ID)
    key_path(machine.config, ID).write_text("torn")
    result = machine.upload(transcripts / "short.jsonl")
    assert result.exit_code == 1
    assert "holds no Ed25519 key in PEM" in " ".join(result.stdout.split())
    assert opened(machine.server) == []


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_session_that_was_open_when_the_key_was_registered_goes_on_in_a_signed_one(
    machines: Iterator[Machine], transcripts: Path, where: str
) -> None:
    """Here by the next session, elsewhere as soon as the key is there, too."""
    machine, other = next(machines), next(machines)
    machine.keep_id(ID)
    is_here = where == "here"

    async def passed(_request: httpx.Request) -> None:
        return None

    async def registered(_request: httpx.Request) -> None:
        key = make_key(machine.config if is_here else other.config, ID)
        machine.server.keys[ID] = key.public_key

    machine.server.faults.extend([passed, registered])
    result = machine.upload(transcripts / "long.jsonl")
    assert result.exit_code == (0 if is_here else 1), result.output
    assert len(opened(machine.server)) == 2
    if not is_here:
        assert "this machine has no key" in " ".join(result.stdout.split())
        assert machine.server.envelopes == []
        shutil.copy(key_path(other.config, ID), key_path(machine.config, ID))
        assert machine.upload(transcripts / "long.jsonl").exit_code == 0
    chunks = [each for each in machine.server.envelopes if "trajectory_log" in each]
    assert sum(len(each["trajectory_log"]) for each in chunks) == 483
    assert len({each["session_id"] for each in chunks}) == 1


def test_a_server_that_never_takes_the_key_is_not_asked_for_ever(
    machines: Iterator[Machine], transcripts: Path
) -> None:
    machine = next(machines)
    machine.keep_id(ID)
    machine.server._refused_claim = lambda _body: None  # it takes every opening, and no chunk
    machine.server.keys[ID] = "AAAA"
    result = machine.upload(transcripts / "short.jsonl")
    assert result.exit_code == 1
    assert "Chunk 1 was refused: Open with the key." in " ".join(result.stdout.split())
    assert len(opened(machine.server)) == 2

"""The command `upload`, run against the server in memory."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from central_command.client.contract.identity import Identity
from central_command.client.uploading import upload
from central_command.client.uploading.upload import upload_command
from tests.central_command.client.uploading.watched import Folder


class Command:
    """Runs `upload` against the server in memory."""

    def __init__(self, server: Any) -> None:
        self.server = server

    def run(self, *arguments: str | Path) -> Result:
        return CliRunner().invoke(upload_command, [str(argument) for argument in arguments])


@pytest.fixture
def command(fake_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """The command with its own configuration and state directories."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("GROOVE_CENTRAL_URL", raising=False)
    monkeypatch.delenv("CENTRAL_COMMAND_URL", raising=False)
    monkeypatch.setattr(upload, "client_for", lambda _options: fake_server.client())
    return Command(fake_server)


@pytest.fixture
def folder(fake_server: Any, identity: Identity, tmp_path: Path) -> Folder:
    """An empty folder."""
    return Folder(fake_server, identity, tmp_path)


@pytest.fixture
def lines(transcripts: Path) -> list[bytes]:
    """A session's lines, moved to the time of these tests."""
    return (transcripts / "tool_heavy.jsonl").read_bytes().splitlines(keepends=True)

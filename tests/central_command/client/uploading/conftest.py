"""The command `upload`, run against the server in memory."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from central_command.client.uploading import upload
from central_command.client.uploading.upload import upload_command


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

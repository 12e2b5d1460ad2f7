"""The command: what it prints, what it sends, and its exit status."""

import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from trio.testing import MockClock

from central_command.client import upload
from central_command.client.identity import Identity
from central_command.client.upload import Uploader, upload_command


class Command:
    """Runs `upload` against the server in memory."""

    def __init__(self, server: Any) -> None:
        self.server = server

    def run(self, *arguments: str | Path) -> Result:
        return CliRunner().invoke(upload_command, [str(argument) for argument in arguments])


@pytest.fixture
def command(fake_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """The command with its own configuration directory."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("GROOVE_CENTRAL_URL", raising=False)
    monkeypatch.setattr(upload, "_client", lambda _options: fake_server.client())
    return Command(fake_server)


def test_a_real_session_is_uploaded_whole(command: Command, transcripts: Path) -> None:
    """It says what was shifted, accepted and credited, without escape sequences where there is no terminal."""
    result = command.run(transcripts / "long.jsonl")
    assert result.exit_code == 0, result.output
    assert "483 steps by claude-opus-4-6" in result.output
    assert "times shifted forward by " in result.output
    assert "so that the last step is now; distances between steps are kept" in result.output
    assert "accepted: 5 of 5 envelopes, 483 of 483 steps" in result.output
    assert "credited: 12.5 points for 3 steps" in result.output
    assert "\x1b" not in result.output
    steps = [step for chunk in command.server.envelopes[:3] for step in chunk["trajectory_log"]]
    assert max(step["timestamp"] for step in steps) - min(step["timestamp"] for step in steps) == pytest.approx(
        4180.187, abs=0.1
    )
    contributor = command.server.envelopes[0]["contributor_id"]
    command.run(transcripts / "short.jsonl")
    assert command.server.envelopes[-3]["contributor_id"] == contributor


def test_one_file_that_holds_no_session_does_not_stop_the_others(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """It is named, the others go out, and the exit status is 1 with one sentence."""
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text("not json\n")
    result = command.run(wrong, transcripts / "short.jsonl")
    assert result.exit_code == 1
    assert "holds no steps of a claude-code session (1 of its lines are not JSON)" in result.stdout
    assert "accepted: 3 of 3 envelopes, 8 of 8 steps" in result.stdout
    assert result.stderr.strip() == "Error: 1 of 2 file(s) were not delivered whole."


def test_a_refusal_is_told_and_fails(command: Command, transcripts: Path) -> None:
    """With the server's reason."""
    command.server.refuse = lambda _envelope: "The model is unknown."
    result = command.run(transcripts / "short.jsonl")
    assert result.exit_code == 1
    assert "not delivered: Chunk 1 of 1 was refused: The model is unknown." in result.stdout


def test_a_server_out_of_reach_ends_the_whole_upload(
    command: Command, transcripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files after the first are not tried, and that is said."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", request=request)

    command.server.faults.extend([refuse] * 9)
    result = command.run(*[transcripts / "short.jsonl"] * 3)
    assert result.exit_code == 1
    assert "the server's certificate is not trusted" in result.stdout
    assert "2 more file(s) were not tried" in result.stdout
    assert len(command.server.requests) == 1
    assert "3 of 3 file(s)" in result.stderr


def test_a_file_without_a_model_needs_one(command: Command, tmp_path: Path) -> None:
    """`--model` names it; without times every step carries that of the upload."""
    path = tmp_path / "session.jsonl"
    path.write_text(json.dumps({"type": "user", "message": {"content": "hello"}}))
    assert "names no model; say which one it was with --model NAME" in command.run(path).output
    result = command.run(path, "--model", "o3", "--contributor-id", "AB" * 16)
    assert result.exit_code == 0, result.output
    assert "the file holds no times" in result.output
    assert command.server.envelopes[0]["metadata"]["model_engine"] == "o3"
    assert command.server.envelopes[0]["contributor_id"] == "ab" * 16


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--url", "ftp://x"], "no URL of a server"),
        (["--url", "http://"], "no URL of a server"),
        (["--contributor-id", "xyz"], "32 hexadecimal digits"),
        (["--provider", "other"], "'other' is not"),
        (["nowhere.jsonl"], "does not exist"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(
    command: Command, transcripts: Path, arguments: list[str], says: str
) -> None:
    """Before anything is sent."""
    result = command.run(transcripts / "short.jsonl", *arguments)
    assert result.exit_code in {1, 2}
    assert says in result.output
    assert command.server.requests == []


async def test_a_terminal_shows_progress_and_waits(
    fake_server: Any, identity: Identity, transcripts: Path, autojump_clock: MockClock
) -> None:
    """The bar moves on standard error; a wait names its reason, in which nothing is taken for markup."""

    async def busy(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"error": "Busy [/red] now."}, headers={"Retry-After": "5"})

    fake_server.faults.append(busy)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    async with fake_server.client() as client:
        uploader = Uploader(client, identity, upload.Options(), console=console, jitter=lambda: 0.5)
        assert await uploader.upload((transcripts / "short.jsonl",)) == 0
    assert "short.jsonl" in screen.getvalue()
    assert "Busy [/red] now." in screen.getvalue()


def test_help_says_what_it_is_for() -> None:
    """Also to someone who has never seen it."""
    output = CliRunner().invoke(upload_command, ["--help"]).output
    assert "~/.claude/projects" in output
    for option in ("--url", "--provider", "--contributor-id", "--model", "--insecure", "GROOVE_CENTRAL_URL"):
        assert option in output


def test_the_real_client_verifies_tls_unless_told_otherwise_and_skips_proxies_for_loopback() -> None:
    """Checked on the client that the command makes."""
    client = upload._client(upload.Options(url="https://127.0.0.1:8443"))
    assert (client.trust_env, client.follow_redirects) == (False, False)
    assert upload._client(upload.Options(url="https://example.org")).trust_env

"""Uploads are scrubbed before they are signed, and what was sent before is known all the same."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from central_command.client.uploading import upload
from central_command.client.uploading.upload import upload_command

SECRETS = ("ana@foldline.io", "M41lp01Dx2hjfF1K", "/home/sofia", "203.0.113.9")
TIME = "2026-11-20T11:48:{:02}.000Z"


def line(number: int, role: str, content: list[dict[str, Any]]) -> str:
    """A line of a session file of Claude Code."""
    message: dict[str, Any] = {"role": role, "content": content}
    if role == "assistant":
        message["model"] = "claude-opus-4-6"
    return json.dumps(
        {
            "type": role,
            "uuid": f"u{number}",
            "sessionId": "s-1",
            "cwd": "/home/sofia/app",
            "timestamp": TIME.format(number),
            "message": message,
        }
    )


def said(number: int, text: str) -> str:
    return line(number, "assistant", [{"type": "text", "text": text}])


LINES = [
    line(1, "user", [{"type": "text", "text": "Write to ana@foldline.io from 203.0.113.9"}]),
    line(
        2,
        "assistant",
        [
            {
                "type": "tool_use",
                "id": "toolu_1",
                "name": "Bash",
                "input": {"command": "PGPASSWORD=M41lp01Dx2hjfF1K ls /home/sofia/app"},
            }
        ],
    ),
    line(3, "user", [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sent to ana@foldline.io"}]),
    said(4, "Done."),
]


class Command:
    """Runs `upload` against the server in memory, for one file."""

    def __init__(self, server: Any, path: Path) -> None:
        self.server = server
        self.path = path
        self.write(LINES)

    def write(self, lines: list[str]) -> None:
        """Write the session file."""
        self.path.write_text("".join(f"{each}\n" for each in lines))

    def run(self, *options: str) -> Result:
        """Upload the file."""
        result = CliRunner().invoke(upload_command, [str(self.path), *options])
        assert result.exit_code == 0, result.output
        return result

    @property
    def bodies(self) -> str:
        return b"".join(self.server.ingested()).decode()

    @property
    def steps(self) -> list[dict[str, Any]]:
        return [step for envelope in self.server.envelopes for step in envelope.get("trajectory_log", ())]


@pytest.fixture
def command(fake_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """The command with its own configuration and state directories."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(upload, "client_for", lambda _options: fake_server.client())
    return Command(fake_server, tmp_path / "s-1.jsonl")


def test_nothing_that_is_found_leaves_the_machine(command: Command, tmp_path: Path) -> None:
    """Nor does it reach the spool or the report; every envelope says that it was scrubbed, and by which rules."""
    result = command.run()
    kept = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    for secret in SECRETS:
        assert secret not in command.bodies + result.output
        assert secret.encode() not in kept
    assert command.steps[0]["content"] == "Write to [EMAIL] from [IP]"
    assert command.steps[1]["arguments"] == {"command": "PGPASSWORD=[API_KEY] ls [FILE_PATH]/app"}
    assert command.steps[1]["call_id"] == "toolu_1"
    for envelope in command.server.envelopes:
        assert (envelope["metadata"]["scrubbed"], envelope["metadata"]["scrub_rules"]) == (True, 1)


def test_the_report_counts_by_category(command: Command) -> None:
    """In a row for each session and as a sentence; a dry run says the same beforehand."""
    planned = command.run("--dry-run").stdout
    result = command.run().stdout
    for output in (planned, result):
        assert "\t2 email, 1 api_key, 1 file_path, 1 ip\n" in output
        assert "Scrubbed: 2 email, 1 api_key, 1 file_path, 1 ip.\n" in output
    assert "Scrubbed" not in command.run().stdout


def test_as_json_the_report_has_an_object_a_session(command: Command) -> None:
    planned = command.run("--dry-run", "--json").stdout
    result = command.run("--json").stdout
    for output in (planned, result):
        (row,) = map(json.loads, output.splitlines())
        assert row["scrubbed"] == {"email": 2, "ip": 1, "api_key": 1, "file_path": 1}
    assert json.loads(result)["session_id"] == command.server.envelopes[0]["session_id"]


def test_no_scrub_sends_what_stands_there_and_says_so(command: Command) -> None:
    result = command.run("--no-scrub")
    assert all(secret in command.bodies for secret in SECRETS)
    assert "Not scrubbed (--no-scrub)" in result.stdout
    for envelope in command.server.envelopes:
        assert envelope["metadata"]["scrubbed"] is False
        assert "scrub_rules" not in envelope["metadata"]


@pytest.mark.parametrize(("first", "second"), [((), ("--no-scrub",)), (("--no-scrub",), ())])
def test_what_was_sent_is_known_whether_it_was_scrubbed_or_not(
    command: Command, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    """Steps are recognised by what the agent wrote: another choice, as other rules would be, sends nothing anew."""
    command.run(*first)
    sent = len(command.server.envelopes)
    assert "already uploaded completely" in command.run(*second).stdout
    command.write([*LINES, said(5, "And ana@foldline.io answered.")])
    command.run(*second)
    assert [len(envelope.get("trajectory_log", ())) for envelope in command.server.envelopes[sent:]] == [1, 0]


def test_findings_are_those_of_the_steps_that_are_sent_now(command: Command) -> None:
    command.run()
    command.write([*LINES, said(5, "Then 203.0.113.77 answered.")])
    assert "Scrubbed: 1 ip.\n" in command.run().stdout


def test_the_end_counts_files_by_their_real_names(command: Command) -> None:
    """Two people's files of the same name differ, however they are scrubbed."""

    def edited(number: int, path: str) -> list[str]:
        call = {"type": "tool_use", "id": f"t{number}", "name": "Write", "input": {"file_path": path, "content": "x"}}
        return [
            line(number, "assistant", [call]),
            line(number + 1, "user", [{"type": "tool_result", "tool_use_id": f"t{number}", "content": "ok"}]),
        ]

    command.write([LINES[0], *edited(5, "/home/sofia/a.py"), *edited(7, "/home/bram/a.py"), said(9, "Done.")])
    command.run()
    assert "/home/bram" not in command.bodies
    assert command.server.envelopes[-1]["outcome"]["files_modified"] == 2

"""Whose session file a file is: every fixture by exactly one reader, everything else by none and with a reason."""

import json
import re
import time
from pathlib import Path

import pytest

from actors.envelopes.settings import SchemaSettings
from central_command.client.transcripts.detection import HEAD_BYTES_MAX, describe_unknown, detect, read_head
from central_command.client.transcripts.providers import READERS
from central_command.client.transcripts.reader import LINE_BYTES_MAX
from tests.server_process import REPOSITORY

FOLDERS = {"claude_code": "claude-code", "codex": "codex", "gemini": "gemini", ".": "claude-code"}


def session_files(transcripts: Path, folder: str) -> list[Path]:
    found = sorted(path for path in (transcripts / folder).iterdir() if path.suffix in {".json", ".jsonl"})
    assert len(found) >= 3
    return found


@pytest.mark.parametrize(("folder", "provider"), FOLDERS.items())
def test_every_session_file_is_recognised_by_its_own_reader_alone(
    folder: str, provider: str, transcripts: Path
) -> None:
    """No two readers may claim a file, or the order of the registry would decide."""
    for path in session_files(transcripts, folder):
        claimed = [name for name, reader in READERS.items() if reader.recognises(read_head(path))]
        assert claimed == [provider], path.name
        reader = detect(path)
        assert reader is not None
        assert reader.provider == provider


def test_the_name_of_a_file_is_not_needed(transcripts: Path, tmp_path: Path) -> None:
    """Streams are saved under any name; only the oldest rollouts have nothing but theirs."""
    for folder, provider in FOLDERS.items():
        for path in session_files(transcripts, folder):
            if "2025-06-01" not in path.name:
                renamed = tmp_path / "saved.txt"
                renamed.write_bytes(path.read_bytes())
                reader = detect(renamed)
                assert reader is not None
                assert reader.provider == provider


def test_the_registry_holds_the_agents_that_the_server_takes_and_those_that_it_can_be_told_to_take() -> None:
    """Found by themselves, under the contract's names; config.toml names the others."""
    assert SchemaSettings().providers == ("claude-code", "codex", "gemini")
    others = READERS.keys() - set(SchemaSettings().providers)
    (comment,) = re.findall(r"also reads session files of ((?:.|\n)*?): add", (REPOSITORY / "config.toml").read_text())
    assert others == set(re.findall(r"[a-z-]+", comment.replace(" and ", " ")))
    assert all(reader.provider == name for name, reader in READERS.items())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "The file is empty: the agent has not written to it yet."),
        (b"\n \n", "The file is empty: the agent has not written to it yet."),
        (b"# Notes\n", "its first lines are not JSON."),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "its first lines are not JSON."),
        (b'{"name": "package", "version": 1}\n', "its first lines hold none of their events."),
        (b'{\n  "type": "x"\n}\n', "its first lines hold none of their events."),
        (b'{"type":"log"}\n{"type":"exit"}\n', "its first lines hold none of their events (found: exit, log)."),
    ],
)
def test_a_file_that_no_agent_wrote_is_told_in_one_sentence(content: bytes, reason: str, tmp_path: Path) -> None:
    """What was found and what was looked for."""
    path = tmp_path / "file.jsonl"
    path.write_bytes(content)
    assert detect(path) is None
    assert describe_unknown(path).endswith(reason)
    assert describe_unknown(path).count(". ") == 0


def test_a_folder_or_a_missing_file_is_no_session(tmp_path: Path) -> None:
    """Neither raises."""
    assert detect(tmp_path) is None
    assert describe_unknown(tmp_path) == "It is a folder, not a session file."
    assert detect(tmp_path / "none") is None
    assert describe_unknown(tmp_path / "none") == "The file cannot be read: No such file or directory."


def test_damaged_and_foreign_lines_at_the_beginning_do_not_hide_the_agent(tmp_path: Path) -> None:
    """The first lines that tell are enough, however the file begins."""
    path = tmp_path / "file.jsonl"
    path.write_bytes(b'half a line"}\n{"other":1}\n{"type":"turn.started"}\n')
    reader = detect(path)
    assert reader is not None
    assert reader.provider == "codex"


def test_an_agent_is_known_on_damaged_lines(tmp_path: Path) -> None:
    """Where no line is one record: two without an end between them, one behind NULs."""
    event = json.dumps({"type": "turn.started"}).encode()
    for line in (event + event, b"\0" * 100 + event, b'{"type":"turn.sta' + event):
        path = tmp_path / "file.jsonl"
        path.write_bytes(line)
        reader = detect(path)
        assert reader is not None
        assert reader.provider == "codex"


def test_a_first_line_of_megabytes_does_not_hide_the_agent(tmp_path: Path) -> None:
    """A pasted screenshot; one that is longer than any line that is read is passed over."""
    for size in (HEAD_BYTES_MAX + 1, LINE_BYTES_MAX + 1):
        first = json.dumps({"type": "turn.started", "x": "y" * size})
        (tmp_path / "s.jsonl").write_text(first + '\n{"type":"turn.started"}\n')
        reader = detect(tmp_path / "s.jsonl")
        assert reader is not None
        assert reader.provider == "codex"


@pytest.mark.parametrize(
    ("first", "name"),
    [
        ({"type": "runtime-config", "sessionId": "1", "reasoningEffort": "high"}, "Qoder"),
        ({"type": "history_mutation", "payload": {}}, "TRAE"),
    ],
)
def test_another_agents_file_is_refused_by_name(first: dict[str, object], name: str, tmp_path: Path) -> None:
    """Also where it resembles one that is read."""
    path = tmp_path / "s.jsonl"
    like_claude = {"type": "assistant", "message": {"role": "assistant", "content": [{"type": "text", "text": "x"}]}}
    path.write_text("".join(json.dumps(each) + "\n" for each in (first, like_claude)))
    assert detect(path) is None
    assert f"another agent's: {name} wrote it" in describe_unknown(path)


def test_no_more_than_the_head_of_a_file_is_read(tmp_path: Path) -> None:
    """A large file costs as much as a small one."""
    path = tmp_path / "file.jsonl"
    event = json.dumps({"type": "turn.started"})
    path.write_text(event + "\n" + "x" * (2 * HEAD_BYTES_MAX))
    head = read_head(path)
    assert len(head.text) == HEAD_BYTES_MAX
    assert len(head.events) == 1


def test_a_head_of_empty_lines_takes_time_in_proportion(tmp_path: Path) -> None:
    """Line after line is added to what is shown of the file: copied each time, a million of them took minutes."""
    path = tmp_path / "session.jsonl"
    path.write_bytes(b"\n" * 500_000)
    began_at = time.process_time()
    assert read_head(path).text == "\n" * 500_000
    assert time.process_time() - began_at < 5

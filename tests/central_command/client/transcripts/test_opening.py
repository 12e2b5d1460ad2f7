"""A session file as it is when it is opened, however it grows meanwhile."""

import os
from pathlib import Path

import pytest

from central_command.client.transcripts.opening import open_transcript


def test_what_is_written_behind_it_while_it_is_read_is_not_seen(tmp_path: Path) -> None:
    """So reading ends, also where the writer is faster; seeking back shows the same again."""
    path = tmp_path / "grows.jsonl"
    path.write_bytes(b"one\n" * 100_000)
    lines = 0
    with open_transcript(path) as file, path.open("ab") as writer:
        for line in file:
            writer.write(line * 2)
            lines += 1
        writer.flush()
        assert file.tell() == 400_000
        file.seek(0)
        assert len(file.read()) == 400_000
    assert lines == 100_000


def test_a_file_that_shrinks_ends_earlier(tmp_path: Path) -> None:
    """Without an error."""
    path = tmp_path / "shrinks.jsonl"
    path.write_bytes(b"x" * 10)
    with open_transcript(path) as file:
        os.truncate(path, 3)
        assert file.read() == b"xxx"


def test_what_is_no_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    """Which callers have a sentence for."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="a FIFO"):
        open_transcript(tmp_path / "fifo")

"""Entries of a zip archive are read where they are; what no agent wrote there is refused."""

import stat
import zipfile
from pathlib import Path

import pytest

from central_command.client.transcripts import archives
from central_command.client.transcripts.opening import open_transcript, size_of

TEXT = b'{"type":"user"}\n' * 1_000


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_entry_is_read_by_its_path(method: int, tmp_path: Path) -> None:
    """As if the archive were a folder, and again from its beginning."""
    path = tmp_path / "backup.zip"
    with zipfile.ZipFile(path, "w", method) as opened:
        opened.writestr("./other", b"x")
        opened.writestr("projects//one.jsonl", TEXT)
    inner = path / "projects" / "one.jsonl"
    with open_transcript(inner) as file:
        assert file.read() == TEXT
        file.seek(0)
        assert file.readline() == TEXT[:16]
    assert 0 < size_of(inner) <= len(TEXT)
    with pytest.raises(FileNotFoundError):
        open_transcript(path / "projects" / "two.jsonl")


def test_what_no_agent_wrote_is_refused(tmp_path: Path) -> None:
    """Names that point out of it, links, what is encrypted, packed in another way, or there twice."""
    path = tmp_path / "odd.zip"
    link = zipfile.ZipInfo("link.jsonl")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as opened:
        for name in ("../up.jsonl", "/abs.jsonl", "a/../../b.jsonl", "..\\up.jsonl", "C:\\x.jsonl"):
            opened.writestr(name, TEXT)
        opened.writestr(link, "/etc/passwd")
        opened.writestr("packed.jsonl", TEXT, compress_type=zipfile.ZIP_BZIP2)
        opened.writestr("secret.jsonl", TEXT)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    problems = {name: place.problem or "" for name, place in archives.entries(path).items()}
    assert [why.split(" ")[-1] for name, why in problems.items() if "up" in name or "abs" in name] == ["in"] * 3
    assert all("points out" in why for name, why in problems.items() if "\\" in name or ".." in name)
    assert ("symbolic link" in problems["link.jsonl"], "method 12" in problems["packed.jsonl"]) == (True, True)
    assert "encrypted" in problems["secret.jsonl"]
    with pytest.raises(OSError, match="symbolic link"):
        open_transcript(path / "link.jsonl")


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    """Cut off, or with changed bytes."""
    path = archive(tmp_path / "a.zip", **{"s.jsonl": TEXT})
    whole = path.read_bytes()
    for data in (whole[:-30], whole[: len(whole) // 2], b"PK\x03\x04"):
        path.write_bytes(data)
        with pytest.raises(OSError, match="damaged"):
            archives.entries(path)
    path.write_bytes(whole[:60] + bytes(2) + whole[62:])

    def read() -> None:
        with open_transcript(path / "s.jsonl") as file:
            file.read()

    with pytest.raises(OSError, match="its entry in the archive is damaged"):
        read()


def test_the_number_of_entries_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before they are read."""
    path = archive(tmp_path / "a.zip", **{f"{n}.jsonl": b"" for n in range(3)})
    monkeypatch.setattr(archives, "ENTRIES_MAX", 2)
    with pytest.raises(OSError, match="more than 2 entries"):
        archives.entries(path)

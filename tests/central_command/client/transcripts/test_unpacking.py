"""Compressed session files: every member is read, damage and bombs are told in a sentence, and memory is bounded."""

import gzip
import struct
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import zstandard

from central_command.client.transcripts import unpacking
from central_command.client.transcripts.opening import open_transcript, size_of
from central_command.client.transcripts.unpacking import DamagedError, unpacked

TEXT = b'{"type":"user"}\n' * 1_000


def in_pieces(data: bytes, size: int = 100) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


SKIPPABLE = struct.pack("<II", 0x184D2A53, 3) + b"abc"
PACKED = {
    "gz": gzip.compress(TEXT),
    "gz-members-and-padding": gzip.compress(TEXT[:7]) + gzip.compress(TEXT[7:]) + bytes(512),
    "zst": zstandard.compress(TEXT),
    "zst-frames": zstandard.compress(TEXT[:7]) + SKIPPABLE + zstandard.compress(TEXT[7:]),
    "zst-skippable-first": SKIPPABLE + zstandard.compress(TEXT),
    "empty-member-first": gzip.compress(b"") + gzip.compress(TEXT),
}
CHECKED = zstandard.ZstdCompressor(write_checksum=True).compress(TEXT)


@pytest.mark.parametrize("data", PACKED.values(), ids=PACKED.keys())
@pytest.mark.parametrize("size", [1, 7, 65_536])
def test_all_members_are_read_however_they_come(data: bytes, size: int) -> None:
    """In one pass, one after the other."""
    assert b"".join(unpacked(in_pieces(data, size))) == TEXT


@pytest.mark.parametrize("name", ["gz", "zst"])
def test_a_compressed_file_is_read_like_a_plain_one(name: str, tmp_path: Path) -> None:
    """Whatever it is called; seeking back shows the same again."""
    path = tmp_path / "session"
    path.write_bytes(PACKED[name])
    with open_transcript(path) as file:
        assert file.readline() == TEXT[:16]
        assert file.read() == TEXT[16:]
        assert file.tell() == len(TEXT)
        assert file.name == "session"
        assert file.consumed == size_of(path) == len(PACKED[name])
        file.seek(0)
        assert file.read() == TEXT
        file.seek(16)
        assert file.readline() == TEXT[:16]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (PACKED["gz"][:-5], "are cut off"),
        (PACKED["zst"][:-3], "are cut off"),
        (PACKED["gz"][:3], "are cut off"),
        (PACKED["gz"][:20] + b"zz" + PACKED["gz"][22:], "are damaged"),
        (CHECKED[:12] + bytes(8) + CHECKED[20:], "are damaged"),
        (PACKED["zst"] + b"something else", "other data follow them"),
    ],
    ids=["gzip cut", "zstd cut", "gzip head cut", "gzip changed", "zstd changed", "followed"],
)
def test_damage_is_told(data: bytes, why: str) -> None:
    """Of what stands before it nothing can be relied on."""
    with pytest.raises(DamagedError, match=why):
        b"".join(unpacked(in_pieces(data)))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_bomb_is_refused_long_before_it_is_unpacked(pack: object) -> None:
    """By its ratio; a small file that repeats itself is none."""
    assert callable(pack)
    bomb = pack(b"{}\n" * 20_000_000)
    tracemalloc.start()
    with pytest.raises(DamagedError, match="more than 250 times its size"):
        for _ in unpacked(in_pieces(bomb, 16_384)):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48 * 1024 * 1024
    small = b"{}\n" * 1_000_000
    assert sum(map(len, unpacked(in_pieces(pack(small))))) == len(small)


def test_what_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it shrinks no more than others."""
    monkeypatch.setattr(unpacking, "UNPACKED_BYTES_MAX", len(TEXT) - 1)
    with pytest.raises(DamagedError, match="it unpacks to more than 0 MiB"):
        b"".join(unpacked(in_pieces(PACKED["gz"])))


@pytest.mark.parametrize(
    ("data", "what"), [(b"\xfd7zXZ\0\0\0", "xz"), (b"BZh91AY", "bzip2"), (b"PK\x03\x04....", "a zip archive")]
)
def test_what_is_compressed_otherwise_is_named(data: bytes, what: str, tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "s.jsonl.xz").write_bytes(data)
    with pytest.raises(OSError, match=f"it is .*{what}.*unpack it first"):
        open_transcript(tmp_path / "s.jsonl.xz")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_archive_is_named(mode: Literal["w", "w:gz"], form: int, tmp_path: Path) -> None:
    """Its sessions would be read as one."""
    (tmp_path / "s.jsonl").write_bytes(TEXT)
    with tarfile.open(tmp_path / "b.tar", mode, format=form) as archive:
        archive.add(tmp_path / "s.jsonl", "s.jsonl")
    with pytest.raises(OSError, match="it is a tar archive, which is not read here; unpack it first"):
        open_transcript(tmp_path / "b.tar")
    (tmp_path / "s.jsonl").write_bytes(b" " * 257 + b"ustar" + b" " * 250)
    with open_transcript(tmp_path / "s.jsonl") as file:
        assert file.read(512).count(b"ustar") == 1

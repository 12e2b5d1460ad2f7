"""A compressed file is read at any place as the plain one, and never as anything else."""

import io
import random
import struct
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from persistence.files import seekable
from persistence.files.failures import UnreadableFile
from persistence.files.file_system import OsFileSystem
from persistence.files.memory import MemoryFileSystem
from persistence.files.seekable import FRAME_BYTES, SeekableFile, SeekableWriter, check_written

PLACE = Path("/data/2026-11-20.jsonl.zst")


def written(content: bytes, *, piece_bytes: int = 300_000) -> tuple[MemoryFileSystem, SeekableWriter]:
    files = MemoryFileSystem()
    files.make_directory(PLACE.parent)
    writer = SeekableWriter(files.create(PLACE))
    for start in range(0, len(content), piece_bytes):
        writer.append(content[start : start + piece_bytes])
    writer.finish()
    return files, writer


def content_of(size: int) -> bytes:
    return (random.Random(size).randbytes(1_000) * (size // 1_000 + 1))[:size]


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES + 17])
def test_all_of_it_is_read_back_also_by_any_other_reader(size: int) -> None:
    content = content_of(size)
    files, writer = written(content)
    plain = SeekableFile(files.open_read_only(PLACE), PLACE.name)
    assert plain.size() == size
    assert plain.read_at(0, size + 10) == content
    assert plain.read_at(size, 10) == b""
    check_written(files.open_read_only(PLACE), PLACE.name, writer)
    raw = files.open_read_only(PLACE)
    whole = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw.read_at(0, raw.size())), read_across_frames=True)
    assert whole.read() == content


CONTENT = content_of(2 * FRAME_BYTES + 123)
FILES, _ = written(CONTENT)


@given(offset=st.integers(0, len(CONTENT) + 5), length=st.integers(0, FRAME_BYTES + 10))
@settings(max_examples=30, deadline=None)
def test_any_piece_is_what_stood_there(offset: int, length: int) -> None:
    plain = SeekableFile(FILES.open_read_only(PLACE), PLACE.name)
    assert plain.read_at(offset, length) == CONTENT[offset : offset + length]


def test_who_reads_on_unpacks_a_frame_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, sizes = SeekableFile(FILES.open_read_only(PLACE), PLACE.name), list[int]()
    content_size = zstandard.frame_content_size

    class Counted:
        ZstdError = zstandard.ZstdError

        @staticmethod
        def frame_content_size(frame: bytes) -> int:
            sizes.append(len(frame))
            return content_size(frame)

    monkeypatch.setattr(seekable, "zstandard", Counted)
    for offset in range(0, 1_000_000, 10_000):
        plain.read_at(offset, 10_000)
    assert len(sizes) == 1


def test_a_file_that_was_changed_anywhere_is_never_read_as_another_one() -> None:
    content = content_of(5_000)
    files, writer = written(content)
    whole = files.open(PLACE)
    packed = whole.read_at(0, whole.size())
    unused_bit = 4  # of a frame's header, by its format
    for place in range(len(packed)):
        whole.write_at([bytes([packed[place] ^ 0x10])], place)
        if place == unused_bit:
            check_written(files.open_read_only(PLACE), PLACE.name, writer)
        else:
            with pytest.raises(UnreadableFile, match="2026-11-20") as changed:
                check_written(files.open_read_only(PLACE), PLACE.name, writer)
            assert not changed.value.is_away, "it is there, and never will be what it was"
        whole.write_at([packed], 0)
    for size in range(0, len(packed), 7):
        whole.truncate(size)
        with pytest.raises(UnreadableFile):
            SeekableFile(files.open_read_only(PLACE), PLACE.name)
        whole.truncate(size)
        whole.write_at([packed], 0)


def test_a_table_that_promises_too_much_takes_no_memory() -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=True).compress(bytes(200_000_000))
    for plain in (200_000_000, 1_000):
        entry = struct.pack("<II", len(bomb), plain)
        table = struct.pack("<II", 0x184D2A5E, len(entry) + 9) + entry + struct.pack("<IBI", 1, 0, 0x8F92EAB1)
        files = MemoryFileSystem()
        files.make_directory(PLACE.parent)
        files.create(PLACE).write_at([bomb + table], 0)
        with pytest.raises(UnreadableFile):
            SeekableFile(files.open_read_only(PLACE), PLACE.name).read_at(0, 10)


def test_it_is_never_written_to(tmp_path: Path) -> None:
    plain = SeekableFile(FILES.open_read_only(PLACE), PLACE.name)
    for change in (lambda: plain.write_at([b"x"], 0), lambda: plain.truncate(0)):
        with pytest.raises(OSError, match="compressed"):
            change()
    plain.sync()
    plain.close()
    empty = OsFileSystem().create(tmp_path / "empty.zst")
    with pytest.raises(UnreadableFile, match="is cut off"):
        SeekableFile(empty, "empty.zst")

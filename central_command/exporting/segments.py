"""A segment of an export: the files, one for each format, that the next trajectories go into until one is full.

All formats end their files at the same trajectory. So what was written is described by a single place in the order of
the export, and an export that was killed goes on behind the last segment that was whole.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from central_command.exporting.contents import Place, WrittenFile
from central_command.exporting.formats.format import Format
from central_command.exporting.prepared import PARQUET, Prepared
from central_command.exporting.settings import ExportSettings
from central_command.exporting.shape import Shape
from central_command.exporting.writing import FileEachWriter, LineWriter, Writer

NAME_DIGITS = 5


class Segment:
    """The open files of one split. `numbers` are those of the next file of each format."""

    def __init__(
        self,
        folder: Path,
        split: str,
        formats: Sequence[Format],
        numbers: Mapping[str, int],
        *,
        shape: Shape,
        settings: ExportSettings,
    ) -> None:
        self.split = split
        self._bytes_max = settings.shard_bytes_max
        self._writers = {
            known.name: _writer(folder, known, split, numbers.get(f"{known.name}/{split}", 0), shape, settings)
            for known in formats
        }
        self._read_bytes = 0

    def __repr__(self) -> str:
        return f"<Segment {self.split}>"

    def has_room(self, prepared: Mapping[str, Prepared], read_bytes: int) -> bool:
        """Whether a trajectory goes in; into an empty segment any does."""
        if not self._read_bytes:
            return True
        return self._read_bytes + read_bytes <= self._bytes_max and all(
            self._writers[name].size_bytes + each.size_bytes <= self._bytes_max for name, each in prepared.items()
        )

    def add(self, record_id: str, prepared: Mapping[str, Prepared], read_bytes: int) -> dict[str, Place]:
        """Write a trajectory; answer where it is in each format."""
        self._read_bytes += read_bytes
        return {name: self._writers[name].add(record_id, each) for name, each in prepared.items()}

    def close(self) -> list[WrittenFile]:
        """End the files; they are on disk then."""
        return [file for writer in self._writers.values() for file in writer.close()]

    def abandon(self) -> None:
        """Leave the files as they are, and write nothing any more."""
        for writer in self._writers.values():
            writer.abandon()


def numbers_behind(numbers: Mapping[str, int], files: Sequence[WrittenFile]) -> dict[str, int]:
    """The numbers of the next files, when these were written with those."""
    used = Counter({f"{file.format}/{file.split}" for file in files})
    return dict(Counter(numbers) + used)


def _writer(folder: Path, known: Format, split: str, number: int, shape: Shape, settings: ExportSettings) -> Writer:
    name = f"{split}-{number:0{NAME_DIGITS}d}"
    if known.file_each:
        return FileEachWriter(folder, f"{known.name}/{name}", known, split)
    path = f"{known.name}/{name}.{known.ending}"
    if known.ending == PARQUET:
        from central_command.exporting.parquet import ParquetWriter  # noqa: PLC0415 (an extra: where it is asked for)

        return ParquetWriter(folder, path, known, split, shape=shape, row_group_bytes_max=settings.row_group_bytes_max)
    return LineWriter(folder, path, known.name, split)

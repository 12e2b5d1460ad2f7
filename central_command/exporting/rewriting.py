"""Files of an export without what has gone from the corpus since: the other rows stay as they are, in their order."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from central_command.exporting.contents import Entry, Place, WrittenFile
from central_command.exporting.prepared import PARQUET
from central_command.exporting.writing import HashedFile, paths_of


class Rewritten(msgspec.Struct, frozen=True):
    """What came of it: by file where the rows were that have gone; the changed files; those that are to go."""

    ranges: dict[str, list[Place]]
    files: list[WrittenFile]
    removed: list[str]

    def moved(self, entry: Entry) -> Entry:
        """An entry that is left: its rows stand further up, by the rows before them that have gone."""
        if not any(place.path in self.ranges for place in entry.places.values()):
            return entry
        places = {
            name: Place(
                place.path,
                place.first - sum(gone.rows for gone in self.ranges.get(place.path, ()) if gone.first < place.first),
                place.rows,
            )
            for name, place in entry.places.items()
        }
        return msgspec.structs.replace(entry, places=places)


def without(gone: Iterable[Entry], files: Mapping[str, WrittenFile], target: Path, drafts: Path) -> Rewritten:
    """Write the files of `target` that hold records that have gone anew without them, below `drafts`."""
    ranges: dict[str, list[Place]] = defaultdict(list)
    for entry in gone:
        for place in entry.places.values():
            ranges[place.path].append(place)
    written, removed = [], []
    for path, places in sorted(ranges.items()):
        old = files[path]
        rows = old.rows - sum(place.rows for place in places)
        if rows <= 0:
            removed += paths_of(path, max(place.rows for place in places) if rows < 0 else 1)
            continue
        size_bytes, sha256 = _rewrite(target / path, drafts / path, places)
        written.append(
            msgspec.structs.replace(
                old, rows=rows, trajectories=old.trajectories - len(places), size_bytes=size_bytes, sha256=sha256
            )
        )
    return Rewritten(dict(ranges), written, removed)


def _rewrite(source: Path, target: Path, places: Sequence[Place]) -> tuple[int, str]:
    file = HashedFile(target)
    if source.suffix == f".{PARQUET}":
        _without_rows_of_parquet(source, file, places)
    else:
        dropped = _rows_of(places)
        with source.open("rb") as lines:
            for number, line in enumerate(lines):
                if number not in dropped:
                    file.write(line)
    file.close()
    return file.size_bytes, file.sha256


def _rows_of(places: Sequence[Place]) -> frozenset[int]:
    return frozenset(row for place in places for row in range(place.first, place.first + place.rows))


def _without_rows_of_parquet(source: Path, sink: HashedFile, places: Sequence[Place]) -> None:
    import pyarrow as pa  # noqa: PLC0415 (an extra: where there is such a file)
    import pyarrow.parquet as pq  # noqa: PLC0415

    from central_command.exporting.parquet import open_parquet  # noqa: PLC0415

    dropped = _rows_of(places)
    with pq.ParquetFile(source) as old:
        writer = open_parquet(sink, old.schema_arrow)
        first = 0
        for number in range(old.num_row_groups):
            group = old.read_row_group(number)
            mask = pa.array([row not in dropped for row in range(first, first + group.num_rows)])
            first += group.num_rows
            left = group.filter(mask)
            if left.num_rows:
                writer.write_table(left, row_group_size=left.num_rows)
        writer.close()

"""Parquet: the rows of a format with declared columns, in row groups of bounded size. Needs pyarrow (extra `export`).

Lists of objects are `list<JSON>` (pyarrow's extension type over the logical type JSON): `datasets` and DuckDB read them
as objects, Polars and pandas as texts. With `nested = struct` they are structs, for readers that know no JSON; what may
have any form in them (arguments, schemas) is JSON text there, and every member that a row has not is null. The same
rows give the same bytes, with the same version of pyarrow: that is in the file, and in the manifest.
"""

from array import array
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from central_command.exporting.contents import Place, WrittenFile
from central_command.exporting.formats.format import Format
from central_command.exporting.prepared import LENGTHS, ColumnValues, Kind, Prepared
from central_command.exporting.shape import Shape
from central_command.exporting.writing import HashedFile

PLAIN: Final = {"string": pa.utf8(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
JSON: Final = pa.json_(pa.utf8())


def pyarrow_version() -> str:
    """The version that is used, which is part of the files."""
    return str(pa.__version__)


class ParquetWriter:
    """One file; a row group is written when its rows have `row_group_bytes_max` bytes of values.

    It is written in a thread of its own, as Arrow, zstd and the disk need no interpreter, while the next one is filled.
    So two are in memory, never three: the next one waits for the last.
    """

    def __init__(
        self, folder: Path, path: str, known: Format, split: str, *, shape: Shape, row_group_bytes_max: int
    ) -> None:
        self._folder = folder
        self._path = path
        self._format = known
        self._split = split
        self._row_group_bytes_max = row_group_bytes_max
        self._columns = [Values(name, declared, shape) for name, declared in known.features]
        self._schema = pa.schema([(column.name, column.type) for column in self._columns])
        self._sink: HashedFile | None = None
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[Sequence[object]] = []
        self._waiting_bytes = self._rows = self._trajectories = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="row groups")
        self._writing: Future[None] | None = None
        self.size_bytes = 0

    def add(self, record_id: str, prepared: Prepared) -> Place:  # noqa: ARG002 (of the protocol)
        """Take rows into the row group."""
        first = self._rows
        self._waiting += prepared.rows
        self._waiting_bytes += prepared.size_bytes
        self.size_bytes += prepared.size_bytes
        self._rows += len(prepared.rows)
        self._trajectories += 1
        if self._waiting_bytes >= self._row_group_bytes_max:
            self._write_group()
        return Place(self._path, first, len(prepared.rows))

    def close(self) -> list[WrittenFile]:
        """End the file."""
        if self._waiting:
            self._write_group()
        self._written()
        self._thread.shutdown()
        if self._writer is None or self._sink is None:
            return []
        self._writer.close()
        self._sink.close()
        return [
            WrittenFile(
                path=self._path,
                format=self._format.name,
                split=self._split,
                rows=self._rows,
                trajectories=self._trajectories,
                size_bytes=self._sink.size_bytes,
                sha256=self._sink.sha256,
            )
        ]

    def abandon(self) -> None:
        """Wait until nothing is being written any more, and leave it at that."""
        self._thread.shutdown(cancel_futures=True)

    def _write_group(self) -> None:
        self._written()
        rows, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._writing = self._thread.submit(self._write_rows, rows)

    def _written(self) -> None:
        """Wait for the row group that is being written; what went wrong in it goes wrong here."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write_rows(self, rows: list[Sequence[object]]) -> None:
        if self._writer is None:
            self._sink = HashedFile(self._folder / self._path)
            self._writer = open_parquet(self._sink, self._schema)
        columns = [column.array(values) for column, values in zip(self._columns, zip(*rows), strict=True)]  # noqa: B905 (rows are of one length)
        rows.clear()
        table = pa.table(columns, schema=self._schema)
        self._writer.write_table(table, row_group_size=table.num_rows)


def open_parquet(sink: HashedFile, schema: pa.Schema) -> pq.ParquetWriter:
    """Begin a file, as all files of an export are."""
    return pq.ParquetWriter(
        sink, schema, compression="zstd", write_page_index=True, use_content_defined_chunking=True, version="2.6"
    )


class Values(ColumnValues):
    """One column with its type, and how values that were made ready for it become an array."""

    def __init__(self, name: str, declared: str, shape: Shape) -> None:
        super().__init__(name, declared, shape)
        struct = None if self.struct is None else type_of(self.struct)
        item = struct or (JSON if self.item == "json" else PLAIN[self.item])
        self.type = pa.list_(item) if self.is_list else item
        # An array of an extension type is not made of Python's values, but cast from its storage.
        storage = struct or PLAIN.get(self.item, pa.utf8())
        self._storage = pa.list_(storage) if self.is_list else storage

    def array(self, values: Sequence[Any]) -> pa.Array:
        """An array of values."""
        if self.is_list_of_json:
            return self._lists(values)
        array = pa.array(values, type=self._storage)
        return array if self._storage.equals(self.type) else array.cast(self.type)

    def _lists(self, values: Sequence[Any]) -> pa.Array:
        """An array of lists of JSON, made of all items at once: what was encoded here is UTF-8, and not asked again."""
        ends: list[int | None] = []
        lengths = array(LENGTHS)
        for value in values:
            ends.append(None if value is None else len(lengths))
            lengths.frombytes(b"" if value is None else value[0])
        offsets = pa.array([*ends, len(lengths)], type=pa.int32())
        places = pa.array(accumulate(lengths, initial=0), type=pa.int32())
        joined = b"".join([value[1] for value in values if value is not None])
        buffers = [None, places.buffers()[1], pa.py_buffer(joined)]
        texts = pa.ExtensionArray.from_storage(JSON, pa.Array.from_buffers(pa.utf8(), len(lengths), buffers))
        return pa.ListArray.from_arrays(offsets, texts, type=self.type)


def type_of(kind: Kind) -> pa.DataType:
    """What a struct holds, as Arrow's type."""
    if isinstance(kind, dict):
        return pa.struct([(name, type_of(member)) for name, member in kind.items()])
    return pa.list_(type_of(kind[0])) if isinstance(kind, list) else pa.utf8()

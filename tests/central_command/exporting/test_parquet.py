"""Parquet: types that load, row groups that fit, the same bytes twice."""

import json
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trio

from central_command.exporting.formats.messages import MESSAGES
from central_command.exporting.parquet import JSON, Values
from central_command.exporting.prepared import FLAT_BYTES, encode
from central_command.exporting.shape import Shape
from central_command.exporting.verifying import verify_export
from central_command.exporting.writing import HashedFile
from tests.central_command.exporting.conftest import contents, make
from tests.corpus_maker import put_sessions, session, steps_of


def tables(target: Path, name: str) -> list[Any]:
    """The files of a format, in order."""
    return [pq.ParquetFile(path) for path in sorted((target / name).glob("*.parquet"))]


def test_parquet_holds_the_rows_of_messages_with_json_that_says_so(root: Path, tmp_path: Path) -> None:
    """Row by row the same as in JSON lines; both are written at once."""
    target = tmp_path / "out"
    make(root, target, "messages", "parquet")
    lines = [json.loads(line) for path in sorted(target.glob("messages/*")) for line in path.read_text().splitlines()]
    found = [row for file in tables(target, "parquet") for row in file.read().to_pylist()]
    assert len(found) == len(lines) == 20
    for row, line in zip(found, lines, strict=True):
        for name, declared in MESSAGES.features:
            value = row[name]
            if declared == "list: json" and value is not None:
                value = [json.loads(each) for each in value]
            assert value == line[name], name
    schema = tables(target, "parquet")[0].schema_arrow
    assert str(schema.field("messages").type.value_type) == "extension<arrow.json>"
    assert str(schema.field("steps").type) == "int64"


def test_lists_of_json_count_for_their_text_and_become_what_pyarrow_makes_of_them() -> None:
    """By what they count for, rows are put into groups: so it is part of the bytes."""
    column = Values("messages", "list: json", Shape())
    lists: list[Any] = [[], [{}], None, [{"role": "user", "content": "\u00e9\0"}, 7, "x"], []]
    prepared = [column.prepared(value) for value in lists]
    assert [size for _, size in prepared] == [FLAT_BYTES if value is None else len(encode(value)) for value in lists]
    for values in (lists, [None], [[]]):
        array = column.array([column.prepared(value)[0] for value in values])
        array.validate(full=True)
        texts = [None if value is None else [encode(each).decode() for each in value] for value in values]
        assert array.equals(pa.array(texts, pa.list_(pa.utf8())).cast(pa.list_(JSON)))


def test_what_goes_wrong_while_a_row_group_is_written_ends_the_export(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is written beside: no later one is, and the same command makes all of it."""
    make(root, tmp_path / "whole", "parquet")
    flushed = 0

    def failing(file: HashedFile) -> None:
        nonlocal flushed
        flushed += file.closed is False
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(HashedFile, "flush", failing)
        with pytest.raises(OSError, match="No space left"):
            make(root, tmp_path / "out", "parquet")
    assert flushed == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("row groups")]
    make(root, tmp_path / "out", "parquet")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_row_groups_are_bounded_and_have_a_page_index(root: Path, tmp_path: Path) -> None:
    make(root, tmp_path / "out", "parquet")
    files = tables(tmp_path / "out", "parquet")
    assert max(file.num_row_groups for file in files) > 1
    for file in files:
        for number in range(file.num_row_groups):
            assert file.metadata.row_group(number).total_byte_size < 3 * 5_000
            assert file.metadata.row_group(number).column(0).has_offset_index


def test_structs_have_every_member_and_json_where_forms_differ(root: Path, tmp_path: Path) -> None:
    """For readers that know no JSON; arguments and schemas are texts of JSON in them."""
    make(root, tmp_path / "out", "parquet", shape=Shape(nested="struct", reasoning_key="thinking"))
    rows = [row for file in tables(tmp_path / "out", "parquet") for row in file.read().to_pylist()]
    calls = [call for row in rows for message in row["messages"] for call in message["tool_calls"] or ()]
    assert len(calls) == 20 * 4
    assert json.loads(calls[0]["function"]["arguments"]) == {"command": "run alpha0 0"}
    assert {tuple(message) for row in rows for message in row["messages"]} == {
        ("role", "content", "thinking", "tool_calls", "tool_call_id", "name")
    }
    assert any(message["thinking"] for row in rows for message in row["messages"])
    assert json.loads(rows[0]["tools"][0]["function"]["parameters"])["type"] == "object"
    assert list(verify_export(tmp_path / "out")) == []


@pytest.mark.parametrize("content", ["a\x00b", "\U0001f600", "x" * 5_000_000], ids=["NUL", "emoji", "5 MB"])
def test_texts_of_every_kind_come_out_as_they_were(tmp_path: Path, content: str) -> None:
    root = tmp_path / "data"
    steps = [*steps_of("odd"), {"type": "thought", "content": content}]
    trio.run(put_sessions, root, [session(1, steps)])
    make(root, tmp_path / "out", "parquet", "jsonl", dedup="none")
    (row,) = tables(tmp_path / "out", "parquet")[0].read().to_pylist()
    assert content in json.loads(row["messages"][-1])["content"]

"""An export made in process, with small files, and formats that a test makes up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.contamination import Benchmarks
from central_command.exporting.exporting import export
from central_command.exporting.formats import table
from central_command.exporting.formats.format import Format
from central_command.exporting.publishing import Done, Given
from central_command.exporting.reasons import LeftOut, LeftOutReason
from central_command.exporting.selection import Selection
from central_command.exporting.settings import ExportSettings
from central_command.exporting.shape import Row, Shape
from tests.corpus_maker import put_sessions, session

SMALL = ExportSettings(shard_bytes_max=40_000, row_group_bytes_max=5_000)


def rows_of_texts(trajectory: Trajectory, shape: Shape) -> list[Row]:
    """Two rows a session; none of one that was not for something."""
    if trajectory.session_id == "sess_2":
        raise LeftOut(LeftOutReason.NO_LABEL)
    messages = [{"role": step.type, "content": step.text, "arguments": step.arguments} for step in trajectory.steps]
    return [
        {"record_id": trajectory.record_id, "messages": messages, "steps": len(messages), "tokens": trajectory.tokens},
        {"record_id": trajectory.record_id, "messages": [], "steps": None, "tokens": None},
    ]


TEXTS = Format(
    name="texts",
    rows=rows_of_texts,
    features=(("record_id", "string"), ("messages", "list: json"), ("steps", "int64"), ("tokens", "int64")),
    version="7",
)
EACH = Format(name="each", rows=rows_of_texts, ending="json", file_each=True)
COLUMNAR = Format(name="columnar", rows=rows_of_texts, features=TEXTS.features, ending="parquet")
MADE_UP = (TEXTS, EACH, COLUMNAR)


@pytest.fixture(autouse=True)
def _formats(monkeypatch: pytest.MonkeyPatch) -> None:
    for known in MADE_UP:
        monkeypatch.setitem(table.FORMATS, known.name, known)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data directory with 20 sessions of seven contributors."""
    root = tmp_path / "data"
    trio.run(put_sessions, root, [session(number, contributor=number % 7) for number in range(20)])
    return root


Make = Callable[..., Done]


def make(root: Path, target: Path, *formats: str, **options: Any) -> Done:
    """Make an export; members of `Given` go there, the others into the selection."""
    beside = {
        name: options.pop(name) for name in ("is_incremental", "explain", "counter", "settings") if name in options
    }
    benchmarks = options.pop("given_benchmarks", None) or Benchmarks(1_000_000)
    report = options.pop("report", lambda _: None)
    selection = Selection(formats=formats or ("jsonl", "texts"), benchmarks=tuple(benchmarks.files), **options)
    beside.setdefault("settings", SMALL)
    return export(root, target, Given(selection=selection, benchmarks=benchmarks, **beside), report)


def contents(target: Path) -> dict[str, bytes]:
    """All files of an export."""
    return {str(path.relative_to(target)): path.read_bytes() for path in sorted(target.rglob("*")) if path.is_file()}

"""Exports loaded by `datasets`, DuckDB, Polars and pandas, as they lie in their folder: every type as it was meant.

The corpus is made to be hard to guess types from: ten megabytes of sessions that only talk come first, those that call
tools after; in the first files nobody gave feedback, and no outcome is known.
"""

import json
import random
from pathlib import Path
from typing import Any

import datasets
import duckdb
import pandas as pd
import polars as pl
import pytest
import trio

from central_command.corpus import open_corpus
from central_command.exporting.chat import JOINT
from central_command.exporting.formats.table import FORMATS
from central_command.exporting.settings import ExportSettings
from central_command.exporting.shape import Shape
from central_command.exporting.verifying import verify_export
from tests.central_command.exporting.conftest import make
from tests.corpus_maker import put_sessions, session, steps_of

TALKING, CALLING = 11, 8
BYTES_BEFORE_CALLS = 10_500_000
"""More than the block that `datasets` guesses types from."""
OF_SESSIONS = [name for name, known in FORMATS.items() if known.of_record is None]
TRAINING = [name for name, known in FORMATS.items() if known.features and known.of_line is known.of_record is None]
LARGE = 2**70 + 1


def talking(number: int) -> dict[str, Any]:
    """A session of a megabyte of words, without calls, outcome or feedback."""
    chosen = random.Random(number)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chosen.choices(letters, k=7)) for _ in range(2_000)]
    steps = [{"type": "instruction", "source": "user", "content": " ".join(words[:20])}]
    steps += [{"type": "thought", "content": " ".join(chosen.choices(words, k=12_000))} for _ in range(10)]
    return session(number, steps, contributor=number, outcome=None)


def calling(number: int) -> dict[str, Any]:
    """A session with calls, an outcome and feedback, a correction, and what is hard to keep in its arguments."""
    steps = steps_of(f"beta{number}")
    steps[2]["arguments"] = {"n": LARGE, "deep": {"list": [1, "a", None, {"x": 0.5}]}, "nul": "a\x00b", "empty": {}}
    steps += [
        {"type": "correction", "source": "user", "content": f"Not so, gamma{number}"},
        {"type": "thought", "content": f"Then like this: delta{number}"},
        {"type": "thought", "content": "half a pair: \ud83d", "source": "thinking"},
    ]
    feedback = [{"signal": "accepted", "timestamp": 1795169534}]
    return session(number, steps, contributor=number, feedback=feedback)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus") / "data"
    lines = [talking(number) for number in range(TALKING)]
    lines += [calling(number) for number in range(TALKING, TALKING + CALLING)]
    # Half a surrogate pair is an escape in JSON, as ECMAScript writes it.
    trio.run(put_sessions, root, [json.dumps(line, separators=(",", ":")).encode() for line in lines])
    return root


@pytest.fixture(scope="module")
def exported(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("exported") / "out"
    large = ExportSettings(shard_bytes_max=13_000_000, row_group_bytes_max=2_000_000)
    make(corpus, target, *OF_SESSIONS, settings=large)
    assert list(verify_export(target)) == []
    return target


def loaded(exported: Path, name: str, tmp_path: Path) -> Any:
    """The rows of a format; Parquet beside others has a card of its own, because a card names files of one kind."""
    folder = exported / "parquet" if name == "parquet" else exported
    return datasets.load_dataset(str(folder), name, cache_dir=str(tmp_path))["train"]


def written(exported: Path, name: str) -> list[Any]:
    paths = sorted((exported / name).rglob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]


def test_the_corpus_is_as_hard_as_it_says(exported: Path) -> None:
    rows = written(exported, "messages")
    before = [row for row in rows if not row["tools"]]
    assert len(rows) == TALKING + CALLING
    assert rows[: len(before)] == before
    assert sum(len(json.dumps(row)) for row in before) > BYTES_BEFORE_CALLS
    assert {row["feedback"] for row in before} == {None}


@pytest.mark.parametrize("name", TRAINING)
def test_datasets_loads_every_format_of_rows(exported: Path, tmp_path: Path, name: str) -> None:
    rows = loaded(exported, name, tmp_path)
    known = FORMATS[name]
    assert rows.column_names == [column for column, _ in known.features]
    same = written(exported, "messages" if name == "parquet" else name)
    assert len(rows) == len(same) > 0
    for read, row in zip(rows, same, strict=True):
        assert {member: value for member, value in read.items() if value is not None} == {
            member: value for member, value in row.items() if value is not None
        }


def test_cards_name_what_datasets_reads(exported: Path, tmp_path: Path) -> None:
    names = datasets.get_dataset_config_names(str(exported))
    assert set(names) == {name for name in TRAINING if name != "parquet"} | {"jsonl"}
    assert datasets.get_dataset_config_names(str(exported / "parquet")) == ["parquet"]
    assert loaded(exported, "parquet", tmp_path).features["messages"] == datasets.List(datasets.Json())


def test_arguments_are_objects_and_numbers_too_large_are_their_digits(exported: Path, tmp_path: Path) -> None:
    row = loaded(exported, "parquet", tmp_path)[-1]
    (first, *_) = [message for message in row["messages"] if message.get("tool_calls")]
    arguments = first["tool_calls"][0]["function"]["arguments"]
    assert arguments == {
        "n": str(LARGE),
        "deep": {"list": [1, "a", None, {"x": 0.5}]},
        "nul": "a\x00b",
        "empty": {},
    }
    assert row["messages"][-1]["reasoning_content"] == "half a pair: \ufffd"


def test_duckdb_reads_parquet_and_lines(exported: Path) -> None:
    files = str(exported / "parquet" / "*.parquet")
    with duckdb.connect() as database:
        found = database.execute(
            "select typeof(messages), typeof(tools), count(*), sum(len(messages)), count(feedback), max(steps)"
            f" from '{files}' group by all"
        ).fetchall()
        ((kinds, tools, rows, _, feedback, _),) = found
        assert (kinds, tools, rows, feedback) == ("JSON[]", "JSON[]", TALKING + CALLING, CALLING)
        named = database.execute(
            f"select distinct messages[3]->'tool_calls'->0->'function'->>'name' from '{files}' where len(tools) > 0"
        ).fetchall()
        lines = str(exported / "messages" / "*.jsonl")
        ((count,),) = database.execute(
            f"select count(*) from read_json('{lines}', maximum_object_size=100000000)"
        ).fetchall()
    assert ("Bash",) in named or (None,) in named
    assert count == TALKING + CALLING


def test_polars_and_pandas_read_texts_that_are_json(exported: Path) -> None:
    path = next((exported / "parquet").glob("*.parquet"))
    frame = pd.read_parquet(path)
    assert [json.loads(text)["role"] for text in frame["messages"].iloc[0]][:2] == ["user", "assistant"]
    assert frame["training_eligible"].dtype == bool
    table = pl.scan_parquet(exported / "parquet" / "*.parquet").select("messages", "steps").collect()
    assert table.height == TALKING + CALLING
    first = table["messages"][0]
    assert json.loads(first.to_list()[0])["role"] == "user"


def test_the_examples_of_the_documentation_work(corpus: Path, exported: Path, tmp_path: Path) -> None:
    """docs/datasets.md: from the data directory to `datasets`, and what it asks of DuckDB and Polars."""
    opened = open_corpus(corpus, providers=["claude-code"])
    made = datasets.Dataset.from_generator(
        lambda: ({"record": each} for each in opened.examples()),
        features=datasets.Features(record=datasets.Json()),
        cache_dir=str(tmp_path),
    )
    assert len(made) == len(list(opened)) == TALKING + CALLING
    files = str(exported / "parquet" / "train-*.parquet")
    with duckdb.connect() as database:
        roles = database.execute(
            f"select m->>'role' as role, count(*) from (select unnest(messages) as m from '{files}') group by all"
        ).fetchall()
        models = database.execute(f"select model_name, count(*), avg(steps) from '{files}' group by all").fetchall()
    assert {role for role, _ in roles} == {"user", "assistant", "tool"}
    assert [(name, count) for name, count, _ in models] == [("claude-opus-4-6", TALKING + CALLING)]
    rows = pl.scan_parquet(files).filter(pl.col("quality") >= 0)
    assert rows.select("record_id", "model_name", pl.col("messages").list.len()).collect().height == TALKING + CALLING


def test_structs_are_what_pandas_gives_as_dicts(corpus: Path, tmp_path: Path) -> None:
    """As verl reads them; arguments are JSON text there."""
    make(corpus, tmp_path / "out", "parquet", shape=Shape(nested="struct"))
    frames = [pd.read_parquet(path) for path in sorted((tmp_path / "out" / "parquet").glob("*.parquet"))]
    frame = pd.concat(frames)
    assert len(frame) == TALKING + CALLING
    last = frame.iloc[-1]
    called = next(message for message in last["messages"] if message["tool_calls"] is not None)
    assert json.loads(called["tool_calls"][0]["function"]["arguments"])["n"] == str(LARGE)
    assert {tool["function"]["name"] for tool in last["tools"]} == {"Bash"}


def test_sessions_that_are_files_of_their_own_are_whole(exported: Path) -> None:
    traces = sorted((exported / "traces").rglob("*.jsonl"))
    assert len(traces) == TALKING + CALLING
    for path in traces:
        first, *others = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        assert first["type"] == "session"
        assert {line["type"] for line in others} == {"message"}
    files = sorted((exported / "swe-agent").rglob("*.traj"))
    assert len(files) == CALLING
    for path in files:
        read = json.loads(path.read_text("utf-8"))
        assert read["trajectory"][-1]["query"] == read["history"]
        assert {type(item["observation"]) for item in read["trajectory"]} == {str}


def test_a_correction_and_its_answer_are_a_pair_and_feedback_is_a_label(exported: Path) -> None:
    pairs, labels = written(exported, "dpo"), written(exported, "kto")
    assert len(pairs) == len(labels) == CALLING
    assert {row["label_source"] for row in pairs} == {"correction"}
    assert {(row["label"], row["label_source"]) for row in labels} == {(True, "feedback")}
    assert all(JOINT not in row["correction"] for row in pairs)

"""What the judge said stands beside what was derived, where it is asked for, and is no label."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.curation.asking import _line
from actors.curation.judge import Judgement
from central_command.corpus.stored import StoredCorpus
from central_command.exporting.shape import Shape
from central_command.exporting.verifying import verify_export
from persistence.corpus import open_corpus
from persistence.databases.judgements import Standing
from persistence.settings.storage import StorageSettings
from tests.central_command.exporting.conftest import contents, make
from tests.corpus_maker import NOW, put_sessions, session, steps_of, take_back

JUDGED = Shape(judgements=True)
FORMATS = ("messages", "parquet", "jsonl", "kto", "dpo", "sharegpt", "atif", "otel", "swe-agent", "traces")
SAID = {
    "judge_cognitive_target": "debugging",
    "judge_quality": 81,
    "judge_outcome": "succeeded",
    "judge_rationale": "It mends 2.",
    "judge_model": "a-model",
    "judge_rules": "judge-1",
}


def judge(root: Path, *numbers: int, quality: int = 81) -> None:
    """Put what a judge said of these sessions into the corpus."""

    async def put() -> None:
        with StoredCorpus(root).snapshot() as snapshot:
            records = {each.record.session_id: each.record for each in snapshot.records()}
        opinions = {
            number: Judgement("1", "debugging", quality, "succeeded", f"It mends {number}.") for number in numbers
        }
        said = [_line(records[f"sess_{number}"], each, "a-model") for number, each in opinions.items()]
        async with open_corpus(root, StorageSettings(free_bytes_min=0), clock=lambda: NOW) as corpus:
            assert await corpus.put_judgements(said, Standing(judge="a-model"))

    trio.run(put)


def rows_of(target: Path, name: str) -> dict[str, Any]:
    lines = [line for path in sorted(target.glob(f"{name}/*.jsonl")) for line in path.read_text().splitlines()]
    return {row["session_id"]: row for row in map(json.loads, lines)}


def told(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name.startswith("judge_")}


def test_rows_say_what_the_judge_said_and_null_of_what_was_not_judged(root: Path, tmp_path: Path) -> None:
    judge(root, 2, 3)
    make(root, tmp_path / "out", "messages", "jsonl", shape=JUDGED, dedup="none")
    assert list(verify_export(tmp_path / "out")) == []
    rows = rows_of(tmp_path / "out", "messages")
    rules = told(rows["sess_2"])["judge_rules"]
    assert told(rows["sess_2"]) == SAID | {"judge_rules": rules}
    assert told(rows["sess_1"]) == dict.fromkeys(SAID)
    records = rows_of(tmp_path / "out", "jsonl")
    said = {name.removeprefix("judge_"): value for name, value in told(rows["sess_2"]).items()}
    assert (records["sess_2"]["judgement"], records["sess_1"]["judgement"]) == (said, None)
    assert records["sess_2"]["enrichment"]["quality_assessment"]["score"] == rows["sess_2"]["quality"] != 81
    card = (tmp_path / "out" / "README.md").read_text()
    assert "judge_rationale" in card
    assert "judgement" in card


def test_every_format_with_columns_has_them_only_where_they_are_asked_for(root: Path, tmp_path: Path) -> None:
    judge(root, 2)
    correction = {"type": "correction", "source": "user", "content": "No, the other one"}
    steps = [*steps_of("omega", 1), correction, {"type": "resolution", "content": "The other one, then."}]
    trio.run(put_sessions, root, [session(20, steps)])
    judge(root, 20)
    make(root, tmp_path / "with", *FORMATS, shape=JUDGED, dedup="none")
    make(root, tmp_path / "without", *FORMATS, dedup="none")
    whole = contents(tmp_path / "with")
    for name in FORMATS:
        text = b"".join(each for path, each in whole.items() if path.startswith(f"{name}/"))
        assert (b"judge_rationale" if name != "jsonl" else b'"judgement"') in text, name
        assert b"It mends" in text or name == "parquet", name
    without = b"".join(contents(tmp_path / "without").values())
    assert b"judge_" not in without
    assert b'"judgement"' not in without


def test_parquet_has_them_as_columns_of_their_types(root: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    judge(root, 2)
    make(root, tmp_path / "out", "parquet", shape=JUDGED, dedup="none")
    table = parquet.read_table(tmp_path / "out" / "parquet" / "train-00000.parquet")
    assert str(table.schema.field("judge_quality").type) == "int64"
    assert [each for each in table["judge_rationale"].to_pylist() if each] == ["It mends 2."]


def test_what_is_said_later_is_another_export_s(root: Path, tmp_path: Path) -> None:
    """Stopped after the first session and gone on with, it has the bytes that it would have had."""
    judge(root, 2, 3)
    make(root, tmp_path / "whole", "messages", shape=JUDGED, dedup="none")

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(root, tmp_path / "stopped", "messages", shape=JUDGED, dedup="none", report=stop)
    judge(root, 3, 4, quality=7)
    make(root, tmp_path / "stopped", "messages", shape=JUDGED, dedup="none")
    assert rows_of(tmp_path / "stopped", "messages") == rows_of(tmp_path / "whole", "messages")


def test_a_judgement_goes_with_its_record_and_with_its_steps(root: Path, tmp_path: Path) -> None:
    judge(root, 2, 3)
    trio.run(take_back, root, 2)
    trio.run(put_sessions, root, [session(3, steps_of("omega"))])
    make(root, tmp_path / "out", "messages", shape=JUDGED, dedup="none")
    assert b"It mends" not in b"".join(contents(tmp_path / "out").values())


def test_no_label_comes_from_the_judge(root: Path, tmp_path: Path) -> None:
    """A session that nobody said anything of has none, however it was judged; a label says what it is from."""
    crashed = {"status": "CRASH", "total_steps": 1, "total_chunks": 1}
    accepted = [{"signal": "accepted", "timestamp": 1_795_169_600}]
    lines = [session(20, outcome=None), session(21, outcome=crashed), session(22, outcome=crashed, feedback=accepted)]
    trio.run(put_sessions, root, [each | {"contributor_id": f"{9:032x}"} for each in lines])
    judge(root, 20, 21, 22)
    make(root, tmp_path / "out", "kto", shape=JUDGED, dedup="none")
    rows = rows_of(tmp_path / "out", "kto")
    assert "sess_20" not in rows
    labels = {name: (rows[name]["label"], rows[name]["label_source"]) for name in ("sess_21", "sess_22")}
    assert labels == {"sess_21": (False, "outcome"), "sess_22": (True, "feedback")}

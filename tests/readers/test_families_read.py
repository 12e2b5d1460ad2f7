"""Sub-agents within their parents (`--subagents embed`), read by whoever defined the formats: nothing lost or doubled.

Some families are as deep as three, some have several of the same task, one has half of everything that is hard to keep.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import duckdb
import pytest
import trio
from atif import Trajectory as Atif
from google.protobuf.json_format import ParseDict
from harbor.models.trajectories import Trajectory as Harbor
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from central_command.corpus import Trajectory, open_corpus
from central_command.exporting.settings import ExportSettings
from central_command.exporting.shape import Shape
from central_command.exporting.verifying import read_index, verify_export
from tests.central_command.exporting.conftest import make
from tests.central_command.exporting.sessions import call, result, said, spoken
from tests.central_command.exporting.test_families import line, walked
from tests.central_command.exporting.test_round_trip import by_type, of_atif, of_messages
from tests.corpus_maker import put_sessions
from tests.readers.test_documents_read import _with_base64_ids

FAMILIES, ALONE = 6, 3
FORMATS = ("messages", "parquet", "sharegpt", "kto", "jsonl", "atif", "otel", "traces", "swe-agent", "openai")
HARD = [
    call("n", "Bash", n=10**30, deep={"list": [1, "a", None]}),
    result("n", "half \ud83d and \x00 between"),
    call("p", "Read", path="a"),
    call("q", "Read", path="b"),
    result("q", "b"),
    result("p", "a"),
    result("nobody", "an answer to nothing"),
    said("And so on."),
    call("z", "Bash", command="sleep"),
]


def sessions() -> Iterator[dict[str, Any]]:
    """Families of four: a parent, two that it began, and one that the first of these began; the rest stand alone."""
    for number in range(0, FAMILIES * 4, 4):
        top, task, deeper = f"r{number}", f"Look around {number}", f"Look deeper {number}"
        yield line(number + 1, key=f"{top}/b", parent=top, task=deeper, contributor=number)
        child = line(number + 2, key=f"{top}/a", parent=top, task=task, begins=deeper, contributor=number)
        child["trajectory_log"] += [
            {"step": 90 + place, "timestamp": 1_795_169_530 + place, **step} for place, step in enumerate(HARD)
        ]
        yield child
        yield line(number + 3, key=f"{top}/c", parent=top, task="Of no call that is known", contributor=number)
        yield line(number, key=top, begins=task, contributor=number)
    for number in range(FAMILIES * 4, FAMILIES * 4 + ALONE):
        yield line(number, contributor=number)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("families") / "data"
    # Half a surrogate pair is an escape in JSON, as ECMAScript writes it.
    trio.run(put_sessions, root, [json.dumps(each, separators=(",", ":")).encode() for each in sessions()])
    return root


@pytest.fixture(scope="module")
def exported(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files, so that families end some of them."""
    target = tmp_path_factory.mktemp("exported") / "out"
    small = ExportSettings(shard_bytes_max=150_000, row_group_bytes_max=20_000)
    shape = Shape(subagents="embed", keep_incomplete=True)
    manifest = make(root, target, *FORMATS, shape=shape, settings=small, dedup="none").manifest
    assert list(verify_export(target)) == []
    assert (manifest.seen, manifest.kept) == (FAMILIES * 4 + ALONE, FAMILIES + ALONE)
    assert manifest.left_out == {"embedded": FAMILIES * 3}
    return target


@pytest.fixture(scope="module")
def corpus(root: Path) -> dict[str, Trajectory]:
    """What is in the corpus, by session: what was mended is so in both."""
    return {each.session_id: each for each in open_corpus(root)}


def rows(exported: Path, name: str) -> list[Any]:
    paths = sorted((exported / name).glob("*.jsonl"))
    assert paths
    return [json.loads(text) for path in paths for text in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("model", [Atif, Harbor])
def test_their_models_take_every_family(exported: Path, model: Any) -> None:
    """Every member is one of theirs; each reference is to a document within, and each of these has a parent."""
    within = 0
    for document in rows(exported, "atif"):
        assert model.model_validate(document).to_json_dict() == document
        for each in walked(document):
            own = [child["trajectory_id"] for child in each.get("subagent_trajectories", [])]
            results = [found for step in each["steps"] for found in step.get("observation", {}).get("results", [])]
            referred = [ref["trajectory_id"] for found in results for ref in found.get("subagent_trajectory_ref", [])]
            assert len(referred) == len(set(referred))
            assert set(referred) <= set(own)
            within += len(own)
    assert within == FAMILIES * 3


def test_atif_has_every_text_of_a_family_once_where_it_belongs(exported: Path, corpus: dict[str, Trajectory]) -> None:
    """The texts of each type, counted against the corpus: of each session within its own document, and of all."""
    seen: Counter[str] = Counter()
    texts = 0
    for document in rows(exported, "atif"):
        for each in walked(document):
            seen[each["session_id"]] += 1
            found = by_type(of_atif(each))
            assert found == spoken(corpus[each["session_id"]])
            texts += sum(map(len, found.values()))
    assert seen == Counter(corpus.keys())
    assert texts == sum(len(each) for session in corpus.values() for each in spoken(session).values()) > 300


@pytest.mark.parametrize("name", ["messages", "parquet"])
def test_rows_have_every_text_of_a_family_once(
    exported: Path, corpus: dict[str, Trajectory], tmp_path: Path, name: str
) -> None:
    """As `datasets` reads them, each session in a row behind its parent's, which the row names."""
    folder = exported / "parquet" if name == "parquet" else exported
    loaded = list(datasets.load_dataset(str(folder), name, cache_dir=str(tmp_path))["train"])
    assert Counter(row["session_id"] for row in loaded) == Counter(corpus.keys())
    for row in loaded:
        assert by_type(of_messages(row)) == spoken(corpus[row["session_id"]])
    parents = {row["session_id"]: row["parent_session_id"] for row in loaded}
    begun = {f"sess_{n + 1}": f"sess_{n + 2}" for n in range(0, FAMILIES * 4, 4)}
    begun |= {f"sess_{n + place}": f"sess_{n}" for n in range(0, FAMILIES * 4, 4) for place in (2, 3)}
    assert {child: parent for child, parent in parents.items() if parent} == begun
    places = {row["session_id"]: place for place, row in enumerate(loaded)}
    assert all(places[parent] < places[child] for child, parent in begun.items())


def test_an_engine_joins_families_by_their_columns(exported: Path) -> None:
    with duckdb.connect() as database:
        found = database.execute(
            f"with rows as (from '{exported / 'parquet' / '*.parquet'}') "
            "select count(*), count(distinct parent.session_id) from rows as child "
            "join rows as parent on child.parent_session_id = parent.session_id"
        ).fetchall()
    assert found == [(FAMILIES * 3, FAMILIES * 2)]


def test_a_trace_has_every_result_of_a_family_once(exported: Path, corpus: dict[str, Trajectory]) -> None:
    """OTLP by its own protobuf: one trace for a family, one span that invokes each agent, each result in one span."""
    agents: Counter[str] = Counter()
    results = 0
    for trace in rows(exported, "otel"):
        spans = ParseDict(_with_base64_ids(trace), TracesData()).resource_spans[0].scope_spans[0].spans
        assert len({span.trace_id for span in spans}) == 1
        ids = {span.span_id for span in spans}
        assert all(not span.parent_span_id or span.parent_span_id in ids for span in spans)
        for span in spans:
            values = {each.key: each.value.string_value for each in span.attributes}
            if span.name.startswith("invoke_agent"):
                agents[values["gen_ai.conversation.id"]] += 1
            results += "gen_ai.tool.call.result" in values
    assert agents == Counter(corpus.keys())
    answered = {"observation", "error"}
    of_calls = [
        step for each in corpus.values() for step in each.steps if step.type in answered and step.call_id != "nobody"
    ]
    assert results == len(of_calls)


def test_every_other_format_has_each_session_of_a_family_once(exported: Path, corpus: dict[str, Trajectory]) -> None:
    for name in ("jsonl", "sharegpt", "kto"):
        found = Counter(row["session_id"] for row in rows(exported, name))
        assert set(found.values()) == {1}, name
        assert set(found) <= set(corpus), name
    assert len(rows(exported, "jsonl")) == len(corpus)
    entries = list(read_index(exported))
    assert sum(1 + len(entry.embedded) for entry in entries) == len(corpus)
    documents = [path.read_text("utf-8") for path in (exported / "traces").rglob("*.jsonl")]
    traces = [json.loads(text) for document in documents for text in document.splitlines()]
    assert Counter(each["session_id"] for each in traces if each["type"] == "session") == Counter(corpus.keys())
    assert sum(entry.places["swe-agent"].rows for entry in entries) == FAMILIES + ALONE, "a document holds its family"
    said = b"".join(path.read_bytes() for path in (exported / "swe-agent").rglob("*.traj")).decode()
    assert all(f"Mended work{number}" in said for number in range(FAMILIES * 4 + ALONE))

"""What exports say of tokens is what the API of sessions says: both add the steps' usage up, copies left out."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from central_command.client.contract.chunking import encode_step
from central_command.client.uploading.survey import survey
from central_command.corpus.reading import read_line
from central_command.corpus.trajectory import Trajectory
from central_command.exporting.formats import atif, otel, swe_agent
from central_command.exporting.shape import Shape
from central_command.live_sessions.counting import Counts
from tests.central_command.exporting.sessions import asked, call, result, said, thinking, trajectory
from tests.corpus_maker import session

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"
REAL = [TRANSCRIPTS / f"{name}.jsonl" for name in ("short", "tool_heavy", "subagent", "long")]
OTHERS = sorted((TRANSCRIPTS / "codex").glob("rollout-2026-11-20T11-49*.jsonl")) + sorted(
    (TRANSCRIPTS / "gemini").glob("*2026*")
)
Counted = tuple[int, int, int, int]
USAGE = {"input_tokens": 10, "output_tokens": 2, "cache_read_tokens": 4, "cache_write_tokens": 1}


def line_of(path: Path, copied: list[dict[str, Any]]) -> bytes:
    """A trajectory's line as it is when the file was sent."""
    steps = [msgspec.json.decode(encode_step(step)) for step in survey(path, None).steps()]
    line = session(0, steps, copied_from=copied, copied_steps=sum(run["to_step"] for run in copied))
    return msgspec.json.encode(line | {"record_id": "rec_0"})


def of_api(line: bytes) -> Counted:
    counts = Counts()
    counts.take(line)
    taken, given, read, written = counts.tokens.values()
    return taken, given, read, written


def summed(metrics: list[dict[str, Any]]) -> Counted:
    names = ("prompt_tokens", "completion_tokens", "cached_tokens")
    taken, given, read = (sum(each.get(name, 0) for each in metrics) for name in names)
    return taken, given, read, sum(each.get("extra", {}).get("cache_write_tokens", 0) for each in metrics)


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: int(each["value"].get("intValue", 0)) for each in span["attributes"]}


def of_spans(spans: list[dict[str, Any]]) -> Counted:
    names = ("input_tokens", "output_tokens", "cache_read.input_tokens", "cache_write.input_tokens")
    taken, given, read, written = (
        sum(attributes(span).get(f"gen_ai.usage.{name}", 0) for span in spans) for name in names
    )
    return taken, given, read, written


def documents(known: Trajectory) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    document: Any = next(iter(atif.ATIF.rows(known, Shape())))
    traced: Any = next(iter(otel.OTEL.rows(known, Shape())))
    file: Any = next(iter(swe_agent.SWE_AGENT.rows(known, Shape())))
    return document, traced["resourceSpans"][0]["scopeSpans"][0]["spans"], file


@pytest.mark.parametrize(
    ("path", "copied_steps"),
    [*((path, 0) for path in REAL + OTHERS), (REAL[-1], 100)],
    ids=lambda value: str(value)[-9:],
)
def test_every_export_has_the_api_s_tokens(path: Path, copied_steps: int) -> None:
    """As a whole, and added up over the messages of the model."""
    copied = [{"from_step": 1, "to_step": copied_steps, "session_id": "s"}] if copied_steps else []
    line = line_of(path, copied)
    known = read_line(line, lambda contributor: contributor).trajectory
    taken, given, read, written = of_api(line)
    assert taken > 0
    document, spans, file = documents(known)
    final = document["final_metrics"]
    assert (final["total_prompt_tokens"], final["total_completion_tokens"]) == (taken, given)
    assert final["total_cached_tokens"] == read
    assert summed([step["metrics"] for step in document["steps"] if "metrics" in step]) == (taken, given, read, written)
    whole, *rest = spans
    assert of_spans([whole]) == of_spans(rest) == (taken, given, read, written)
    stats = file["info"]["model_stats"]
    assert (stats["tokens_sent"], stats["tokens_received"]) == (taken, given)


def test_what_a_recorder_tells_of_usage_is_that_of_the_inference_before_it() -> None:
    """The step that tells it says nothing, and is in no message."""
    told = {"type": "thought", "content": "", "source": "program", "usage": USAGE}
    known = trajectory(asked("q"), thinking("t"), said("s"), told, asked("r"), call("a"), told, result("a"), told)
    document, _, _ = documents(known)
    assert [step.get("metrics", {}).get("prompt_tokens") for step in document["steps"]] == [None, 10, None, 10]
    assert [step["message"] for step in document["steps"]] == ["q", "s", "r", ""]
    assert document["final_metrics"]["total_prompt_tokens"] == 30

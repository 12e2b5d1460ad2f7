"""Usage on steps: each message of the model once, counted here from the files without any of the readers' code."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from central_command.client.contract.steps import StepList
from central_command.client.contract.usage import OF_MODEL, ReportedUsage, UsageList
from central_command.client.transcripts.detection import detect
from central_command.client.uploading.recognition import digest, old_digest
from central_command.client.uploading.survey import survey
from tests.central_command.client.transcripts import rollouts
from tests.central_command.client.transcripts.claude_code_events import assistant, user
from tests.central_command.client.transcripts.whole import Whole, whole

FIXTURES = Path(__file__).parents[3] / "transcripts"
EVERY = sorted(path for path in FIXTURES.rglob("*.json*") if path.suffix in {".json", ".jsonl"})
Counts = tuple[int, int, int, int]


def events_of(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    return [json.loads(each) for each in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]


def read(path: Path) -> Whole:
    reader = detect(path)
    assert reader is not None
    with path.open("rb") as file:
        return whole(reader, file)


def read_events(*events: dict[str, Any], name: str = "session.jsonl", folder: Path) -> Whole:
    path = folder / name
    path.write_bytes(b"".join(json.dumps(event).encode() + b"\n" for event in events))
    return read(path)


def summed(reports: Iterator[tuple[int, ReportedUsage]]) -> Counts:
    counts = [[count or 0 for count in usage.counts()] for _, usage in reports]
    taken, given, cached, written = map(sum, zip(*counts, strict=True)) if counts else (0, 0, 0, 0)
    return taken, given, cached, written


def claude(path: Path) -> Counts:
    """Of each message id the largest counts, also of sidechains that have no file of their own."""
    largest: dict[str, list[int]] = {}
    for event in events_of(path):
        if event["type"] != "assistant" or event.get("isApiErrorMessage"):
            continue
        usage = event["message"].get("usage", {})
        read, written = usage.get("cache_read_input_tokens", 0), usage.get("cache_creation_input_tokens", 0)
        told = [usage.get("input_tokens", 0) + read + written, usage.get("output_tokens", 0), read, written]
        before = largest.setdefault(event["message"]["id"], [0, 0, 0, 0])
        largest[event["message"]["id"]] = list(map(max, before, told))
    taken, given, cached, created = map(sum, zip(*largest.values(), strict=True))
    return taken, given, cached, created


def codex(path: Path) -> Counts:
    """The last figures of the thread."""
    told = [event["payload"]["info"]["total_token_usage"] for event in events_of(path) if _counts_tokens(event)]
    told += [event["usage"] for event in events_of(path) if event.get("type") == "turn.completed" and "usage" in event]
    last = told[-1] if told else {}
    names = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_input_tokens")
    taken, given, cached, written = (last.get(name, 0) for name in names)
    return taken, given, cached, written


def _counts_tokens(event: dict[str, Any]) -> bool:
    payload = event.get("payload")
    return isinstance(payload, dict) and payload.get("type") == "token_count" and payload["info"] is not None


def gemini(path: Path) -> Counts:
    """Of each message the tokens that were told last; what was thought counts as written."""
    last: dict[str, Any] = {}
    for event in events_of(path):
        for message in event.get("messages", [event]):
            if "tokens" in message:
                last[message["id"]] = message["tokens"]
    each = last.values()
    given = sum(tokens["output"] + tokens["thoughts"] for tokens in each)
    return sum(tokens["input"] for tokens in each), given, sum(tokens["cached"] for tokens in each), 0


CHAT, OLD_CHAT = "session-2026-11-20T11-49-29edd6bf.jsonl", "session-2025-10-05T08-00-8b2f6c1e.json"
COUNTED: list[tuple[Path, Callable[[Path], Counts]]] = [
    *((FIXTURES / f"{name}.jsonl", claude) for name in ("short", "tool_heavy", "subagent", "long")),
    *((FIXTURES / "claude_code" / f"{name}.jsonl", claude) for name in ("session", "agent-a1b2c3d", "print_stream")),
    *((path, codex) for path in sorted((FIXTURES / "codex").glob("*.jsonl"))),
    (FIXTURES / "gemini" / CHAT, gemini),
    (FIXTURES / "gemini" / OLD_CHAT, gemini),
]


@pytest.mark.parametrize(("path", "counted"), COUNTED, ids=lambda value: getattr(value, "stem", ""))
def test_usage_on_steps_is_that_of_each_message_once(path: Path, counted: Callable[[Path], Counts]) -> None:
    """However often the file repeats a message, and whatever was read from its cache is told apart."""
    assert summed(iter(read(path).usages)) == counted(path)


@pytest.mark.parametrize("path", EVERY, ids=lambda path: f"{path.parent.name}-{path.stem[:12]}")
def test_reports_stand_on_steps_of_the_model_and_add_up_to_the_session(path: Path) -> None:
    """Each step has one at most; only a sub-agent that has no file of its own is not in the session's sum."""
    transcript = read(path)
    places = [place for place, _ in transcript.usages]
    assert places == sorted(set(places))
    assert {transcript.steps[place].type for place in places} <= OF_MODEL
    taken, given, _, _ = summed(iter(transcript.usages))
    inner = (2 * 1005, 2 * 20) if path.parent.name == "claude_code" and path.stem == "session" else (0, 0)
    assert (taken - inner[0], given - inner[1]) == (transcript.usage.input_tokens, transcript.usage.output_tokens)


def test_steps_are_sent_with_their_usage_and_known_without_it(transcripts: Path) -> None:
    """So an upload by another version of a reader, which tells more of usage, sends nothing anew."""
    known = survey(transcripts / "long.jsonl", None)
    sent = list(known.steps())
    assert [(place, step.usage) for place, step in enumerate(sent) if step.usage] == list(known.transcript.usages)
    bare = [msgspec.structs.replace(step, usage=None) for step in sent]
    assert known.digests == b"".join(map(digest, bare))
    assert known.known_by.old_digests() == b"".join(map(old_digest, bare))


def test_a_message_of_several_events_has_its_largest_counts_on_its_first_step(tmp_path: Path) -> None:
    """Also where the result of its first call stands between."""
    call = {"type": "tool_use", "id": "t", "name": "B", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "r"}
    events = [user("go"), assistant({"type": "text", "text": "a"}), assistant(call), user([result])]
    events += [assistant({"type": "text", "text": "b"}), assistant({"type": "text", "text": "c"})]
    for event, (message_id, given) in zip(
        (events[1], events[2], events[4], events[5]), [("m", 1), ("m", 3), ("m", 90), ("n", 7)], strict=True
    ):
        event["message"] |= {"id": message_id, "usage": {"input_tokens": 10, "output_tokens": given}}
    transcript = read_events(*events, folder=tmp_path)
    assert list(transcript.usages) == [(1, ReportedUsage(10, 90)), (5, ReportedUsage(10, 7))]
    assert transcript.usages.open_from == 5


def test_codex_may_count_anew_and_repeat_itself(tmp_path: Path) -> None:
    """Figures that are told again add nothing; smaller ones are those of a count that began again."""

    def told(taken: int, given: int) -> dict[str, Any]:
        figures = {"input_tokens": taken, "cached_input_tokens": 0, "output_tokens": given}
        return rollouts.event("token_count", info={"total_token_usage": figures})

    said = rollouts.said
    rollout = [said("a"), told(100, 10), told(100, 10), said("b"), told(250, 30), said("c"), told(80, 8)]
    transcript = read_events(rollouts.meta("s"), *rollout, name="rollout-a.jsonl", folder=tmp_path)
    assert [(place, usage.input_tokens, usage.output_tokens) for place, usage in transcript.usages] == [
        (0, 100, 10),
        (1, 150, 20),
        (2, 80, 8),
    ]


def test_what_may_yet_be_reported_keeps_a_step_from_being_sent(tmp_path: Path) -> None:
    """Settled it is, but its usage stands behind it: what watches a file waits for that."""
    lines = (FIXTURES / "codex" / "rollout-2026-11-20T11-49-48-01a1f8ca-94e1-7bc0-bc7d-2f709f660c37.jsonl").read_bytes()
    path = tmp_path / "rollout-2026.jsonl"
    sent: list[ReportedUsage | None] = []
    held = 0
    for count in range(1, len(lines.splitlines()) + 1):
        path.write_bytes(b"".join(lines.splitlines(keepends=True)[:count]))
        if detect(path) is None:
            continue
        part = read(path)
        held = max(held, part.settled_steps - part.complete_steps)
        sent += [part.usages.of(place) for place in range(len(sent), part.complete_steps)]
    last = read(path)
    assert held
    assert sent == [last.usages.of(place) for place in range(len(last.steps))]


def test_reports_before_any_step_of_the_model_wait_for_one() -> None:
    """Those that no step of the model follows stand on the last one; of a file without one, on the last of all."""
    steps = StepList()
    steps.usage.add_behind(ReportedUsage(1, 2))
    steps.add("instruction", 0.0, "go")
    assert list(steps.usage.all()) == [(0, ReportedUsage(1, 2))]
    steps.add("thought", 0.0, "a")
    steps.usage.add_ahead(ReportedUsage(None, 5))
    assert (list(steps.usage.all()), steps.usage.all().open_from) == ([(1, ReportedUsage(1, 7))], 1)
    steps.add("action", 0.0, "b")
    assert list(steps.usage.all()) == [(1, ReportedUsage(1, 2)), (2, ReportedUsage(None, 5))]
    assert list(UsageList().all()) == []


def test_counts_never_leave_what_javascript_holds() -> None:
    """A file may say anything."""
    steps = StepList()
    for _ in range(3):
        steps.usage.add_ahead(ReportedUsage(2**60, 2**53 - 1))
    steps.add("thought", 0.0, "a")
    assert list(steps.usage.all()) == [(0, ReportedUsage(2**53 - 1, 2**53 - 1))]

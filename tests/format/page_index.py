"""The rows of `search.db` computed from the lines of the corpus, as docs/format.md says and from that page alone."""

import json
from collections import Counter
from typing import Any

from tests.format.page_figures import calls_by_tool
from tests.format.page_reader import Line, kind_of_record
from tests.format.page_tables import Row, Tables, place_of, position_of

NO_TURN = {"program", "attachment", "notification", "hook", "api", "compaction"}


def search_tables(journals: dict[str, list[Line]]) -> Tables:
    """The rows of `search.db` that hold no words, and the numbers of those that do."""
    sessions: dict[str, Row] = {}
    said: dict[str, list[Row]] = {}
    placed: dict[str, list[Row]] = {}
    counted: dict[str, tuple[list[Row], list[Row]]] = {}
    for line in journals["corpus"]:
        members = line.members
        if "erased" in members or "judgement" in members or kind_of_record(members) == "text":
            continue
        steps = [
            {"n": line.n, "id": (line.n << 24) + place, "tool": step["tool"] if _is_text(step.get("tool")) else None}
            for place, step in enumerate(members["trajectory_log"], start=1)
            if any(_says(step.get(name)) for name in ("content", "tool", "arguments"))
        ]
        tags = members["metadata"].get("domain_tags") or members["domain_tags"] or {}
        sessions[members["session_id"]] = {
            **{name: members[name] for name in ("session_id", "record_id", "contributor_id", "started_at")},
            "provider": members["metadata"]["provider"],
            "model": members["metadata"]["model_engine"],
            "domain": (tags.get("primary") or {}).get("domain"),
            "tier": members["enrichment"]["quality_assessment"]["tier"],
            "outcome": (members["outcome"] or {}).get("status"),
            "rows": len(steps),
            **place_of(line),
            **_sorted_by(members),
            **_log_place(line),
        }
        said[members["session_id"]] = steps
        placed[members["session_id"]] = _step_blocks(line)
        found = members["scrubbed"]["by_category"]
        counted[members["session_id"]] = (
            [{"n": line.n, **calls} for calls in calls_by_tool(members["trajectory_log"]).values()],
            [{"n": line.n, "category": name[:200], "found": count} for name, count in found.items() if count],
        )
    rows = [step for steps in said.values() for step in steps]
    return {
        "sessions": list(sessions.values()),
        "step_blocks": [block for blocks in placed.values() for block in blocks],
        "tools": [{"tool": tool, "n": n} for tool, n in {(step["tool"], step["n"]) for step in rows if step["tool"]}],
        "tool_calls": [row for calls, _ in counted.values() for row in calls],
        "findings": [row for _, found in counted.values() for row in found],
        "steps_docsize": [{"id": step["id"]} for step in rows],
        "embeddings": [],
        "projection_positions": [position_of("corpus", journals["corpus"][-1])],
    }


def _sorted_by(members: dict[str, Any]) -> Row:
    lineage = members["metadata"].get("lineage") or {}
    return {
        "ended_at": members["ended_at"],
        "step_count": len(members["trajectory_log"]),
        "tokens": members["total_tokens"],
        "quality": members["enrichment"]["quality_assessment"]["score"],
        "points": float(members["score"]["totalPoints"]),
        "failed": sum(map(_has_failed, members["trajectory_log"])),
        "lineage": lineage.get("id"),
        "parent_lineage": lineage.get("parent_id"),
        "continues_session": members["metadata"].get("continues_session"),
    }


def _has_failed(step: dict[str, Any]) -> bool:
    return step["type"] == "error" or step.get("is_error") is True


def _log_place(line: Line) -> Row:
    start = line.text.index(b'"trajectory_log":[') + len(b'"trajectory_log":')
    text = line.text[start:].decode()
    _, characters = json.JSONDecoder().raw_decode(text)
    return {"log_start": start, "log_end": start + len(text[:characters].encode())}


def _step_places(line: Line) -> list[tuple[int, int]]:
    """Where each step begins in a line, and how many bytes it has."""
    log = _log_place(line)
    text = line.text[log["log_start"] : log["log_end"]].decode()
    at, found = 1, []
    for _ in line.members["trajectory_log"]:
        _, end = json.JSONDecoder().raw_decode(text, at)
        found.append((log["log_start"] + len(text[:at].encode()), len(text[at:end].encode())))
        at = end + 1
    return found


def _step_blocks(line: Line) -> list[Row]:
    """Blocks of a line with fewer than 512 steps, none of which is large."""
    steps = line.members["trajectory_log"]
    places: list[list[Any]] = []
    turn, asked, calls = 0, False, dict[str, list[int]]()
    for number, (step, (start, length)) in enumerate(zip(steps, _step_places(line), strict=True), start=1):
        asks = step["type"] == "instruction" and step.get("source") not in NO_TURN
        begins, asked = asks and not asked, asks
        turn += begins
        partner, call_id = 0, step.get("call_id")
        if call_id and step["type"] in {"observation", "error"}:
            if calls.get(call_id):
                partner = calls[call_id].pop(0)
                places[partner - 1][7] = number
        elif call_id:
            calls.setdefault(call_id, []).append(number)
        named = (step["type"][:64], (step.get("tool") or "")[:64], turn, float(step.get("timestamp", 0)))
        places.append([number, start, length, *named, partner, _has_failed(step), begins, []])
    counts = Counter(sorted(step["type"] for step in steps))
    if not steps:
        return []
    known = {"n": line.n, "first": 1, "steps": len(steps), "turns": sum(place[9] for place in places)}
    failed = sum(place[8] for place in places)
    return [{**known, "failed": failed, "counts": json.dumps(counts, separators=(",", ":")), "places": places}]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _says(value: object) -> bool:
    """Whether there is a text or a number in it."""
    match value:
        case dict():
            return any(map(_says, value.values()))
        case list():
            return any(map(_says, value))
        case bool() | None:
            return False
        case _:
            return value != ""

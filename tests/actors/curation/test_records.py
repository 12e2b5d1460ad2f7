"""What a record says: the trajectory as it is, but for what was scrubbed, and where that stood."""

import json
import tracemalloc
from typing import Any

import pytest

from actors.curation.consent import BY_CLIENT, Agreement
from actors.curation.duplicates import cluster_of
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.fields import FieldTag, FieldTags
from actors.curation.records import RULES, Record, finish_record, read_head, scrub_trajectory, taken_back
from actors.curation.settings import CurationSettings
from persistence.journals.corpus_lines import parse_corpus_line
from persistence.journals.framing import frame

ENRICHMENT = EnrichmentSettings()
EMAIL = "jane.doe@example.com"
OTHER = "john.roe@example.org"

TRAJECTORY: dict[str, Any] = {
    "trajectory_id": "traj_01a22280-fac1-73f0-b90f-2447feefb06a",
    "session_id": "sess_a",
    "contributor_id": "0123456789abcdef0123456789abcdef",
    "metadata": {"provider": "codex", "model_engine": "gpt-5.5"},
    "close_metadata": None,
    "trajectory_log": [{"step": 1, "type": "thought", "timestamp": 1, "content": "hello"}],
    "outcome": None,
    "total_steps": 1,
    "started_at": "2026-11-20T10:12:10.000000Z",
    "total_tokens": 8,
    "coordination_links": [],
    "feedback": [],
    "closed_by": "session_close",
    "score": {"basePoints": 1, "totalPoints": 1},
    "enrichment": {"cognitive_target": "pending"},
    "received": {"n": 1, "at": "2026-11-20T10:12:21.373456Z", "batch": 1},
    "crc32": "3ff5c377",
}


def made(line: bytes, *, late: tuple[bytes, ...] = (), **settings: Any) -> Record:
    """The record of a trajectory's line."""
    head = read_head(line)
    assert head is not None
    consent = BY_CLIENT
    scrubbed = scrub_trajectory(line, head, late_feedback=late, consent=consent, settings=CurationSettings(**settings))
    tag = FieldTag("databases", 0.5)
    return finish_record(scrubbed, cluster_of(scrubbed.signature, [], 0.5), FieldTags(tag, None, None), ENRICHMENT)


def members(record: Record) -> dict[str, Any]:
    """The members of a record's line."""
    decoded: dict[str, Any] = json.loads(b"{%b}" % bytes(record.members))
    return decoded


def of_steps(*steps: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The members of the record of a trajectory with these steps."""
    log = [{"step": place, "type": "thought", "timestamp": 1, **step} for place, step in enumerate(steps, start=1)]
    return members(made(json.dumps({**TRAJECTORY, "trajectory_log": log}).encode(), **settings))


def test_a_record_holds_what_the_trajectory_does_and_says_by_which_rules() -> None:
    found = members(made(json.dumps(TRAJECTORY).encode(), late=(b'{"signal":"rejected"}',)))
    left_out = {"enrichment", "received", "crc32", "feedback"}
    assert {name: found[name] for name in TRAJECTORY if name not in left_out} == {
        name: value for name, value in TRAJECTORY.items() if name not in left_out
    }
    assert found["record_id"] == "rec_01a22280-fac1-73f0-b90f-2447feefb06a"
    assert found["rules"] == RULES
    assert found["consent"] == {"given": True, "version": "1.0", "source": "client"}
    assert found["feedback"] == [{"signal": "rejected"}]
    assert found["scrubbed"] == {"findings": 0, "withheld": 0, "by_category": {}, "places": []}
    assert not {"received", "crc32"} & {*found}
    assert found["enrichment"]["cognitive_target"] != "pending"
    assert found["domain_tags"]["primary"] == {"domain": "databases", "confidence": 0.5}
    assert found["duplicates"]["cluster"] == f"clu_{found['duplicates']['sha256'][:32]}"


def test_what_was_found_is_noted_with_its_place_and_the_same_value_has_the_same_number() -> None:
    found = of_steps(
        {"content": f"to {EMAIL} and {OTHER}"},
        {"content": "nothing", "arguments": {"a/b": [{"to": f"cc {OTHER}"}]}},
    )
    assert found["trajectory_log"][0]["content"] == "to [EMAIL] and [EMAIL]"
    assert found["scrubbed"]["by_category"] == {"[EMAIL]": 3}
    assert found["scrubbed"]["places"] == [
        {"at": "/trajectory_log/0/content", "found": [[3, "[EMAIL]", 1], [15, "[EMAIL]", 2]]},
        {"at": "/trajectory_log/1/arguments/a~1b/0/to", "found": [[3, "[EMAIL]", 2]]},
    ]


def test_json_within_a_text_is_scrubbed_as_json_and_stays_json() -> None:
    found = of_steps({"arguments": json.dumps({"to": EMAIL, "call_id": EMAIL.replace("@", ".")})})
    assert json.loads(found["trajectory_log"][0]["arguments"]) == {"to": "[EMAIL]", "call_id": "jane.doe.example.com"}
    assert found["scrubbed"]["places"] == [{"at": "/trajectory_log/0/arguments", "found": [[-1, "[EMAIL]", 1]]}]


@pytest.mark.parametrize("member", ["metadata", "close_metadata", "outcome", "coordination_links", "feedback"])
def test_every_member_that_a_client_wrote_is_scrubbed(member: str) -> None:
    value: Any = {"provider": "codex", "model_engine": "gpt-5.5", "note": [f"ask {EMAIL}"]}
    value = [value] if member in {"coordination_links", "feedback"} else value
    text = bytes(made(json.dumps({**TRAJECTORY, member: value}).encode()).members)
    assert EMAIL.encode() not in text
    assert b"ask [EMAIL]" in text


PERSONAL_NAMES = [
    (EMAIL, "[EMAIL]"),
    (f"{EMAIL} reviewer", "[EMAIL] reviewer"),
    ("/home/jane.doe/models/qwen.gguf", "[FILE_PATH]/models/qwen.gguf"),
    (r"C:\Users\jane.doe\models\qwen.gguf", r"[FILE_PATH]\models\qwen.gguf"),
]
HONEST_NAMES = [
    "claude-sonnet-4-5-20250929",
    "gpt-4o-2024-08-06",
    "anthropic/claude-opus-4.1",
    "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
    "meta-llama/Llama-3.3-70B-Instruct",
    "accounts/fireworks/models/deepseek-v3-0324",
    "hf.co/unsloth/Qwen2.5-Coder-32B-Instruct-GGUF:Q4_K_M",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-7-sonnet-20250219-v1:0",
    "ft:gpt-4o-mini-2024-07-18:acme::8zQxYc1d",
    "projects/p/locations/us-central1/publishers/google/models/gemini-2.5-pro@001",
    "claude-3-5-sonnet@20240620",
    "gemini-2.5-flash-preview-05-20",
    "ollama:llama3.1:8b-instruct-q4_0",
    "mcp__github__create_issue",
    "Agent 7",
]


@pytest.mark.parametrize(("name", "scrubbed"), [*PERSONAL_NAMES, *((name, name) for name in HONEST_NAMES)])
def test_names_that_clients_wrote_are_scrubbed_like_any_text_and_honest_ones_stay(name: str, scrubbed: str) -> None:
    """Of models, agents, their roles and tools: in the line, and in the row by which records are grouped."""
    step = {"step": 1, "type": "action", "timestamp": 1, "tool": name, "model": name, "content": "x"}
    names = {"model_engine": name, "agent_name": name, "agent_role": name, "agent": {"name": name}}
    record = made(
        json.dumps(
            {
                **TRAJECTORY,
                "metadata": {**TRAJECTORY["metadata"], **names},
                "close_metadata": names,
                "trajectory_log": [step],
                "unique_tools_used": [name],
                "coordination_links": [{"partner": name}],
            }
        ).encode()
    )
    found = members(record)
    assert record.record.model == scrubbed
    assert {**found["metadata"], "provider": None} == {
        **dict.fromkeys(names, scrubbed),
        "agent": {"name": scrubbed},
        "provider": None,
    }
    assert found["close_metadata"]["model_engine"] == scrubbed
    assert (found["trajectory_log"][0]["tool"], found["trajectory_log"][0]["model"]) == (scrubbed, scrubbed)
    assert (found["unique_tools_used"], found["coordination_links"]) == ([scrubbed], [{"partner": scrubbed}])


def test_names_of_members_and_ids_of_agents_stay() -> None:
    """What joins things would join nothing any more; an id that is none is a text like any other."""
    metadata = {**TRAJECTORY["metadata"], EMAIL: 1, "agent_id": "codex-7f3a", "other": {"agent_id": EMAIL}}
    found = members(made(json.dumps({**TRAJECTORY, "metadata": metadata}).encode()))["metadata"]
    assert found == {**metadata, "other": {"agent_id": "[EMAIL]"}}


def test_feedback_that_came_later_is_scrubbed() -> None:
    text = bytes(made(json.dumps(TRAJECTORY).encode(), late=(b'{"context":"%s"}' % EMAIL.encode(),)).members)
    assert b'"feedback":[{"context":"[EMAIL]"}]' in text


def test_numbers_keep_their_digits_and_half_a_character_is_replaced() -> None:
    odd = rb'[{"step":1,"type":"edit","timestamp":1e3,"n":[1e400,0.10,123456789012345678901234],"content":"a\ud83d"}]'
    line = (
        json.dumps({**TRAJECTORY, "trajectory_log": 0})
        .encode()
        .replace(b'"trajectory_log": 0', b'"trajectory_log": ' + odd)
    )
    text = bytes(made(line).members)
    assert b'"timestamp":1e3,"n":[1e400,0.10,123456789012345678901234],"content":"a\xef\xbf\xbd"' in text


def test_what_is_too_deep_or_too_long_is_withheld_and_counted() -> None:
    deep: Any = "down here"
    for _ in range(80):
        deep = [deep]
    found = of_steps({"content": "x" * 50 + EMAIL, "arguments": deep}, text_chars_max=60)
    assert found["trajectory_log"][0]["content"] == "[WITHHELD]"
    assert "down here" not in json.dumps(found)
    assert (found["scrubbed"]["findings"], found["scrubbed"]["withheld"]) == (0, 2)


def test_places_are_listed_up_to_a_bound_and_all_are_counted() -> None:
    found = of_steps(*[{"content": f"{EMAIL} {OTHER}"}] * 3, findings_max=3)
    assert found["scrubbed"]["findings"] == 6
    assert [len(each["found"]) for each in found["scrubbed"]["places"]] == [2, 1]


@pytest.mark.parametrize("record", ["made", "taken back"])
def test_the_line_says_what_its_row_says(record: str) -> None:
    line = json.dumps({**TRAJECTORY, "outcome": {"said": EMAIL}}).encode()
    head = read_head(line)
    assert head is not None
    one = made(line, late=(b"{}",)) if record == "made" else taken_back(head, "no_consent")
    text = b"".join(frame(bytes(one.members), b"", n=1, at=b"2026-11-20T10:12:21.373456Z", batch=1))
    assert parse_corpus_line(text) == one.record
    assert b"\n" not in bytes(one.members)
    assert len(one.members) == len(bytes(one.members))


@pytest.mark.parametrize("chars", [600, 6_000], ids=["many short steps", "longer ones"])
def test_making_a_record_takes_less_than_three_times_its_line(chars: int) -> None:
    """The line itself, which is there before, is one of them."""
    step = {"type": "observation", "timestamp": 1795169530, "tool": "Bash", "content": "x" * chars}
    steps = [{"step": place, **step} for place in range(1_000_000 // chars)]
    line = json.dumps({**TRAJECTORY, "trajectory_log": steps}).encode()
    made(line)  # what is loaded and remembered once
    tracemalloc.start()
    try:
        record = made(line)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(record.members) > 1_000_000
    assert peak < 1.9 * len(line)


@pytest.mark.parametrize("line", [b"{}", b'{"erased":{"at":"2026-11-20T10:12:21.373456Z"},"received":{"n":1}}'])
def test_a_line_that_holds_no_trajectory_makes_no_record(line: bytes) -> None:
    assert read_head(line) is None


def test_what_cannot_be_read_makes_no_record() -> None:
    with pytest.raises(ValueError, match="provider"):
        made(json.dumps({**TRAJECTORY, "metadata": {}}).encode())


def test_consent_is_noted_as_it_was_answered() -> None:
    assert Agreement(given=True, version="1.0", source="client") == BY_CLIENT

"""A corpus of sessions that a test describes, made by curation's own rules, without a server."""

import base64
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from actors.curation.consent import BY_CLIENT, Agreement
from actors.curation.duplicates import KnownSignature, cluster_of
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.records import finish_record, read_head, scrub_trajectory, taken_back
from actors.curation.settings import CurationSettings
from actors.curation.text_records import SubmittedText, TextRecord, text_record, text_taken_back
from persistence.corpus import open_corpus
from persistence.databases.summaries import Summary
from persistence.settings.storage import StorageSettings
from tests.actors.curation.trajectory_lines import call, prompt, thought

NOW = 1_795_169_541.0
BEGAN = 1_795_169_530

Step = dict[str, Any]


def steps_of(name: str, calls: int = 4) -> list[Step]:
    """A session that is about something of its own: a prompt, calls with results, a last word."""
    words = [f"{name}{number}" for number in range(40)]
    found: list[Step] = [prompt(f"Please mend {' '.join(words[:10])} in the parser of {name}")]
    for number in range(calls):
        found.append(thought(f"I look at {name} {number}: {' '.join(words[number : number + 12])}", source="thinking"))
        found += [
            {**step, "call_id": f"call_{number}"}
            for step in call(
                "Bash", f"{name} {number} passed {' '.join(words[::-1][:20])}", command=f"run {name} {number}"
            )
        ]
    return [*found, {"type": "resolution", "content": f"Mended {name}: {' '.join(words[10:30])}"}]


def session(
    number: int, steps: Sequence[Step] | None = None, *, contributor: int = 1, **members: Any
) -> dict[str, Any]:
    """The line of a trajectory; sessions are a day apart, in the order of their numbers."""
    log = [
        {"step": place, "timestamp": BEGAN + 86_400 * number + 20 * place, "token_count": 200, **step}
        for place, step in enumerate(steps if steps is not None else steps_of(f"alpha{number}"), start=1)
    ]
    day = 1 + number % 28
    return {
        "trajectory_id": f"traj_{UUID(int=number)}",
        "session_id": f"sess_{number}",
        "contributor_id": f"{contributor:032x}",
        "metadata": {"provider": "claude-code", "model_engine": "claude-opus-4-6", "agent_role": "agent"},
        "close_metadata": None,
        "trajectory_log": log,
        "outcome": {"status": "SUCCESS", "total_steps": len(log), "total_chunks": 1},
        "total_steps": len(log),
        "copied_steps": 0,
        "copied_from": [],
        "started_at": f"2026-11-{day:02d}T10:12:00.000000Z",
        "ended_at": f"2026-11-{day:02d}T10:13:00.000000Z",
        "time_shift_s": None,
        "total_tokens": 200 * len(log),
        "unique_tools_used": sorted({step["tool"] for step in log if step.get("tool")}),
        "step_type_distribution": {},
        "total_chunks": 1,
        "sequence_gaps": [],
        "coordination_links": [],
        "feedback": [],
        "closed_by": "session_close",
        "score": {"basePoints": 3, "modelMultiplier": 5, "totalPoints": 18},
        "enrichment": {},
        **members,
    }


def _begin(root: Path) -> None:
    """A data directory whose pseudonyms, and so whose splits, are the same in each run."""
    key = root / "keys" / "pseudonyms.key"
    if not key.exists():
        for folder in (root, key.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        key.write_bytes(base64.b64encode(b"k" * 32))
        key.chmod(0o600)


async def put_sessions(root: Path, lines: Iterable[dict[str, Any] | bytes]) -> None:
    """Put records of these trajectories into the corpus of a data directory, after those that are there."""
    _begin(root)
    async with open_corpus(root, StorageSettings(free_bytes_min=0), clock=lambda: NOW) as corpus:
        for each in lines:
            line = each if isinstance(each, bytes) else msgspec.json.encode(each)
            head = read_head(line)
            assert head is not None
            scrubbed = scrub_trajectory(line, head, late_feedback=(), consent=BY_CLIENT, settings=CurationSettings())
            sharing = await corpus.sharing(scrubbed.bands, head.trajectory_id)
            membership = cluster_of(scrubbed.signature, (KnownSignature(*each) for each in sharing), 0.5)
            made = finish_record(scrubbed, membership, None, EnrichmentSettings())
            assert await corpus.put(made.record, made.members)


async def take_back(root: Path, *numbers: int) -> None:
    """Take records out of the corpus, as a withdrawal does."""
    async with open_corpus(root, StorageSettings(free_bytes_min=0), clock=lambda: NOW) as corpus:
        for number in numbers:
            head = read_head(msgspec.json.encode(session(number, [])))
            assert head is not None
            made = taken_back(head, "no_consent")
            assert await corpus.put(made.record, made.members)


def text(number: int, content: str = "", *, user: int = 1, **metadata: Any) -> SubmittedText:
    """A text that a user shared; texts are a day apart, in the order of their numbers."""
    return SubmittedText(
        record_id=f"text_{UUID(int=number)}",
        subject=f"{user:064x}",
        session_id=f"app_{number}",
        content_type="prompt",
        content=content or f"Words of text {number}",
        metadata=msgspec.Raw(json.dumps(metadata).encode()),
    )


async def put_texts(root: Path, texts: Sequence[SubmittedText]) -> None:
    """Put records of these texts into the corpus of a data directory; each was shared on the day of its number."""
    _begin(root)
    agreed = Agreement(given=True, version="1.0", source="api")
    made = [
        text_record(each, agreed, CurationSettings(), at=BEGAN + 86_400 * int(each.record_id[-3:], 16))
        for each in texts
    ]
    await _put_texts(root, made)


async def take_texts_back(root: Path, *numbers: int) -> None:
    """Take records of texts out of the corpus, as a withdrawal does."""
    await _put_texts(root, [text_taken_back(text(number).head, "no_consent") for number in numbers])


async def _put_texts(root: Path, made: Sequence[TextRecord]) -> None:
    async with open_corpus(root, StorageSettings(free_bytes_min=0), clock=lambda: NOW) as corpus:
        assert await corpus.put_texts([(each.record, each.members) for each in made], [], followed=None)


async def summed(root: Path, title: str, session_ids: Iterable[str]) -> None:
    """Give sessions a title and a summary."""
    async with open_corpus(root, StorageSettings(free_bytes_min=0), clock=lambda: NOW) as corpus:
        waiting = await corpus.summaries.without(100, behind_n=0, rules="rules")
        found = Summary(title, f"About {title}.", "rules")
        await corpus.put_summaries([(each, found) for each in waiting if each.session_id in session_ids])

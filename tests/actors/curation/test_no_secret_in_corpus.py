"""What somebody's session holds of every category, wherever it stands: no file of the corpus has it."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from tests.curated import curate, leave_session, shown
from tests.running_service import running

VECTORS = Path(__file__).parents[2] / "vectors" / "scrub" / "positives.jsonl"


def secrets_by_category() -> list[dict[str, Any]]:
    """Two rows of each category, with what must not be there in the end."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in VECTORS.read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["category"] != "mixed" and len(found.setdefault(row["category"], [])) < 2:
            found[row["category"]].append(row)
    return [row for rows in found.values() for row in rows]


def steps(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row's text as what was said, in a tool's arguments, deeper in them, as JSON within text, as a file."""
    texts = [row["text"] for row in rows]
    said = [{"type": "thought", "content": text} for text in texts]
    called = [
        {
            "type": "action",
            "content": "Using Bash",
            "tool": "Bash",
            "arguments": {"note": text, "deeper": [{"still": {"deeper": text}}], "as_text": json.dumps({"in": text})},
        }
        for text in texts
    ]
    read = [{"type": "observation", "content": f"     1\t{text}\n     2\tend of file"} for text in texts]
    return [*said, *called, *read]


async def test_no_file_of_the_corpus_holds_a_secret_of_any_category(tmp_path: Path) -> None:
    rows = secrets_by_category()
    assert len({row["category"] for row in rows}) == 15
    async with running(tmp_path) as run:
        client = await run.open("sess_secrets")
        log = [client.step(step.pop("type"), **step) for step in steps(rows)]
        await run.send(client.chunk_of(log))
        await run.send(client.close())
        await leave_session(run, "sess_other")
        await run.projected()
    secrets = {secret for row in rows for secret in row["must_not_contain"]}
    evidence = b"".join(path.read_bytes() for path in (tmp_path / "envelopes").iterdir())
    assert sum(json.dumps(secret)[1:-1].encode() in evidence for secret in secrets) == len(secrets)

    await curate(tmp_path)

    assert set(shown(tmp_path)) == {"sess_secrets", "sess_other"}
    connection = sqlite3.connect(tmp_path / "corpus.db")
    dumped = "\n".join(connection.iterdump())
    connection.close()
    line = "".join(path.read_text("utf-8") for path in (tmp_path / "corpus").glob("*.jsonl"))
    held = [
        secret
        for secret in secrets
        if any(form in text for text in (line, dumped) for form in (secret, *escaped(secret)))
    ]
    assert held == []


def escaped(text: str) -> list[str]:
    """A text as it stands in JSON, and in JSON within JSON."""
    once = json.dumps(text, ensure_ascii=False)[1:-1]
    return [once, json.dumps(once, ensure_ascii=False)[1:-1]]

"""A reader written from docs/format.md alone reads everything that a real server has written.

The server runs as its users run it; what it wrote is then read with `page_reader`, `page_tables` and what these are
made of, which import nothing of the project.
"""

import ast
import base64
import hashlib
import json
import sys
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag

from tests.format.page_fingerprints import fingerprints
from tests.format.page_index import search_tables
from tests.format.page_reader import (
    DATABASE_VERSIONS,
    Line,
    ecmascript,
    envelope_is_signed,
    kind_of,
    kind_of_record,
    refused_is_signed,
    signed_texts,
    unsealed,
    user_subject_of,
)
from tests.format.page_tables import SessionsDatabase, Tables, corpus_tables, ledger_tables
from tests.format.written_data import ALL_DATABASES, Written, framed, journals_of, rows_of, sessions_of
from tests.running_service import Clock, running, settings_with
from tests.server_process import run_command
from tests.signing_client import CONTRIBUTOR
from tests.submitted_texts import USER


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in an order that does not depend on where they come from."""
    return sorted(rows, key=lambda row: repr(sorted(row.items())))


def test_the_reader_imports_nothing_of_the_project() -> None:
    """Only the standard library, `cryptography`, `zstandard`, and of these tests the reader itself."""
    reader = sorted(Path(__file__).parent.glob("page_*.py"))
    assert len(reader) >= 5
    allowed = {*sys.stdlib_module_names, "cryptography", "zstandard", *(f"tests.format.{path.stem}" for path in reader)}
    for path in reader:
        tree = ast.parse(path.read_text())
        imported = {
            module
            for node in ast.walk(tree)
            for module in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or "."]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert {module for module in imported if not {module, module.split(".")[0]} & allowed} == set()


def test_the_reader_reads_every_line_that_a_server_wrote(written: Written) -> None:
    """Checksums, numbers and batches are right, no byte is left over, and every kind of line is there."""
    journals = journals_of(written.data)
    for name, lines in journals.items():
        stored = sum(path.stat().st_size for path in (written.data / name).glob("*"))
        assert sum(line.length for line in lines) == stored, name
    kinds = {kind_of(line.members) for line in journals["envelopes"]}
    assert kinds == {"CHUNK", "SESSION_CLOSE", "USER_FEEDBACK", "SERVER_CLOSE"}
    assert len(journals["refused"]) == 5
    assert any(line.batch != line.n for line in journals["envelopes"]), "a batch of several lines"
    assert any(line.gap for line in journals["envelopes"])
    assert any(line.gap for line in journals["refused"])


def test_what_clients_sent_is_in_the_lines_as_the_page_says(written: Written) -> None:
    """A lone surrogate stays an escape, a line break becomes a space, a number stays as it was written."""
    texts = b"\n".join(line.text for line in journals_of(written.data)["envelopes"])
    assert b'"half of \\ud83d"' in texts
    assert b'"mass":1e400' in texts
    assert b',   "metadata":    {' in texts


def test_every_table_follows_from_the_journals_as_the_page_says(written: Written) -> None:
    """Each row and each column that is no fact of its own: counts, steps, points, places, of every database."""
    assert check_tables(written.data) == 10
    for database in ALL_DATABASES:
        rows = rows_of(written.data / database)["schema_migrations"]
        assert max(row["version"] for row in rows) == DATABASE_VERSIONS[database]


def test_every_table_follows_from_what_an_erasure_has_left(copy: Path) -> None:
    """Of a contributor with sessions of each sort; those of another one have their openings still."""
    before = journals_of(copy)
    done = run_command("erase", "--contributor", CONTRIBUTOR, "--data-dir", str(copy), cwd=copy.parent)
    assert done.returncode == 0, done.stderr
    assert run_command("curate", "--data-dir", str(copy), cwd=copy.parent).returncode == 0
    assert check_tables(copy) == 4  # that of the upload, one closed without a chunk, two of others
    after = journals_of(copy)
    for name, lines in before.items():
        for old, new in zip(lines, after[name], strict=False):
            assert (new.n, new.at, new.batch, new.gap, new.day, new.offset, new.length) == (
                *(old.n, old.at, old.batch, old.gap, old.day, old.offset, old.length),
            )
            if "erased" in new.members and "sha256" in new.members["erased"]:
                assert new.members["erased"]["sha256"] == hashlib.sha256(old.text).hexdigest()
    assert sum("erased" in line.members for line in after["trajectories"]) == 6
    assert CONTRIBUTOR.encode() not in b"".join(line.text for lines in after.values() for line in lines)


async def test_every_table_follows_from_lines_that_are_past_their_time(copy: Path) -> None:
    """Of sessions that have ended; what is told of each stays."""
    before, clock = journals_of(copy), Clock()
    clock.now += 100 * 86_400
    settings = settings_with(retention={"envelopes_days": 50, "trajectories_days": 60, "intake_days": 70})
    async with running(copy, settings=settings, clock=clock) as run:
        gone = await run.service.expiry.sweep()
    # What a contributor says by their first envelope may be noted by the next start alone, and is then to be heeded.
    assert run_command("curate", "--data-dir", str(copy), cwd=copy.parent).returncode == 0
    assert gone["trajectories"] == len(before["trajectories"])
    assert gone["envelopes"] > gone["feedback"] > 0
    assert gone["intake"] == len(before["intake"]) > 0
    assert check_tables(copy) == 10
    after = journals_of(copy)
    assert all({*line.members} == {"erased", "received", "crc32"} for line in after["intake"])
    for name in ("envelopes", "trajectories", "intake"):
        kept = [line.members["erased"]["kept"]["session_id"] for line in after[name] if "erased" in line.members]
        assert {*kept} <= {line.members["session_id"] for line in before[name]}
    assert run_command("verify", "--deep", "--data-dir", str(copy), cwd=copy.parent).returncode == 0


def check_tables(data: Path) -> int:
    """Compare the databases with what the page makes of the journals; return how many sessions have an opening."""
    journals = journals_of(data)
    stored = {name: rows_of(data / name) for name in ALL_DATABASES}
    openings = {
        row["session_id"]: row["created_at"] for row in stored["sessions.db"]["sessions"] if not row["placeholder"]
    }
    computed: dict[str, Tables] = {
        "sessions.db": SessionsDatabase(journals, openings).tables(),
        "ledger.db": ledger_tables(journals["trajectories"]),
        "corpus.db": corpus_tables(journals),
    }
    own_facts = {"schema_migrations", "key_check"}
    for database, tables in computed.items():
        assert {*stored[database]} == {*tables} | (own_facts & {*stored[database]})
        for table, rows in tables.items():
            derived = [{name: row[name] for name in rows[0]} for row in stored[database][table]] if rows else []
            assert in_order(derived) == in_order(rows), f"{database}: {table}"
    for block in stored["search.db"]["step_blocks"]:
        block["places"] = json.loads(zlib.decompress(block["places"]))
    for table, rows in search_tables(journals).items():
        derived = [{name: row[name] for name in rows[0]} for row in stored["search.db"][table]] if rows else []
        assert in_order(derived) == in_order(rows), f"search.db: {table}"
    return len(openings)


def time_of(seconds: float) -> str:
    """A time as the page writes it."""
    return datetime.fromtimestamp(round(seconds * 1e6) / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_what_stood_in_an_earlier_line_is_marked_and_earns_nothing(written: Written) -> None:
    """Three of the five steps of one session are those of another, which was closed before it."""
    lines = {line.members["session_id"]: line.members for line in journals_of(written.data)["trajectories"]}
    first, second = lines["sess_closed"], lines["sess_gap"]
    source = {"session_id": "sess_closed", "trajectory_id": first["trajectory_id"]}
    assert (first["copied_steps"], first["copied_from"]) == (0, [])
    assert (second["copied_steps"], second["copied_from"]) == (3, [{"from_step": 1, "to_step": 3, **source}])
    assert (second["total_steps"], second["score"]["basePoints"]) == (5, 2)
    shared = set(fingerprints(first["trajectory_log"])) & set(fingerprints(second["trajectory_log"]))
    assert len(shared) == 1


def test_a_record_is_its_trajectory_scrubbed_and_what_is_told_of_it(written: Written) -> None:
    """Feedback that came after the close is in it; what scrubbing found stands where the record says."""
    journals = journals_of(written.data)
    trajectories = {line.members["trajectory_id"]: line.members for line in journals["trajectories"]}
    own = {"scrubbed", "enrichment", "domain_tags", "duplicates", "record_id", "rules", "consent", "received", "crc32"}
    own |= {"kind"}
    records = [line for line in journals["corpus"] if kind_of_record(line.members) == "trajectory"]
    assert len(records) == len(trajectories) == 4
    for line in records:
        record = line.members
        trajectory = trajectories[record["trajectory_id"]]
        assert {*record} - own == {*trajectory} - own
        assert record["record_id"] == record["trajectory_id"].replace("traj_", "rec_")
        assert record["scrubbed"]["findings"] == sum(len(each["found"]) for each in record["scrubbed"]["places"])
        for each in record["scrubbed"]["places"]:
            text = record
            for token in each["at"].split("/")[1:]:
                text = text[int(token) if isinstance(text, list) else token]
            assert [text[at : at + len(name)] for at, name, _ in each["found"]] == [
                name for _, name, _ in each["found"]
            ]
    (closed,) = [line.members for line in records if line.members["session_id"] == "sess_closed"]
    assert [given["signal"] for given in closed["feedback"]] == ["accepted", "rejected"]


def test_a_record_of_a_text_is_that_text_scrubbed(written: Written) -> None:
    """Of a user who is known by a digest alone."""
    journals = journals_of(written.data)
    texts = {line.members["record_id"]: line.members for line in journals["intake"]}
    records = [line.members for line in journals["corpus"] if kind_of_record(line.members) == "text"]
    assert len(records) == len(texts) == 2
    for record in records:
        text = texts[record["record_id"]]
        assert record["user_id"] == text["subject"] == user_subject_of(USER)
        assert {name: record[name] for name in ("session_id", "content_type", "consent_version", "metadata")} == {
            name: text[name] for name in ("session_id", "content_type", "consent_version", "metadata")
        }
        assert time_of(record["timestamp"]) == text["received"]["at"]
        assert record["sha256"] == hashlib.sha256(record["content"].encode()).hexdigest()
        assert record["scrubbed"]["findings"] == ("jane" in text["content"])
        assert record["content"] == text["content"].replace("jane.doe@example.com", "[EMAIL]")
    assert USER not in b"".join(line.text for name in journals for line in journals[name]).decode()


def test_a_trajectory_is_stitched_of_its_chunks_as_the_page_says(written: Written) -> None:
    """Steps and feedback are those of the session's lines, counts are counts of them."""
    journals = journals_of(written.data)
    assert len(journals["trajectories"]) == 4
    for line in journals["trajectories"]:
        trajectory = line.members
        lines = [each for each in journals["envelopes"] if each.members["session_id"] == trajectory["session_id"]]
        chunks = [each.members for each in lines if kind_of(each.members) == "CHUNK"]
        chunks.sort(key=lambda chunk: chunk["chunk_sequence"])
        steps = sorted((step for chunk in chunks for step in chunk["trajectory_log"]), key=lambda step: step["step"])
        assert trajectory["trajectory_log"] == steps
        assert trajectory["metadata"] == chunks[0]["metadata"]
        times = [step["timestamp"] - (trajectory["time_shift_s"] or 0) for step in steps]
        assert [trajectory["started_at"], trajectory["ended_at"]] == [time_of(at) for at in (min(times), max(times))]
        assert trajectory["time_shift_s"] == chunks[0]["metadata"].get("time_shift_s")
        assert (trajectory["total_steps"], trajectory["total_chunks"]) == (len(steps), len(chunks))
        assert trajectory["total_tokens"] == sum(step.get("token_count", 0) for step in steps)
        assert trajectory["unique_tools_used"] == sorted({step["tool"] for step in steps if step.get("tool")})
        assert sum(trajectory["step_type_distribution"].values()) == len(steps)
        score = trajectory["score"]
        bonuses = sum(value for name, value in score.items() if name.endswith("Bonus"))
        assert score["totalPoints"] == score["basePoints"] * score["modelMultiplier"] + bonuses
    (closed,) = [line.members for line in journals["trajectories"] if line.members["session_id"] == "sess_closed"]
    assert [given["signal"] for given in closed["feedback"]] == ["accepted"], "what came later is not in it"
    assert closed["coordination_links"][0]["partner"] == "reviewer"


# Keys and signatures


def test_the_server_s_own_closer_look_finds_nothing_either(written: Written) -> None:
    """It goes by the same page: signatures, stitching, scoring."""
    done = run_command("verify", "--deep", "--data-dir", str(written.data), cwd=written.root)
    assert done.returncode == 0, done.stdout
    assert "trajectories stitched and scored anew: 4\n" in done.stdout
    assert done.stdout.endswith("all is well\n")


def test_the_master_key_opens_every_sealed_column(written: Written) -> None:
    """Each in its own row and column, and nowhere else."""
    rows = rows_of(written.data / "sessions.db")
    (check,) = rows["key_check"]
    assert unsealed(check["sealed"], written.master_key, "key_check") == "central-command"
    for row in rows["sessions"]:
        for column in ("server_private_key", "shared_secret"):
            plain = unsealed(row[column], written.master_key, column, row["session_id"])
            assert len(base64.b64decode(plain, validate=True)) == 32
    first, second, *_ = rows["sessions"]
    with pytest.raises(InvalidTag):
        unsealed(first["shared_secret"], written.master_key, "shared_secret", second["session_id"])
    with pytest.raises(InvalidTag):
        unsealed(first["shared_secret"], written.master_key, "server_private_key", first["session_id"])


def test_every_signature_can_be_checked_again_from_its_line(written: Written) -> None:
    """With the secret of its own session, of accepted and of refused envelopes; never with another one's."""
    journals = journals_of(written.data)
    secrets = {session_id: written.secret(session_id) for session_id in sessions_of(journals)}
    checks: dict[str, Callable[[Line, bytes], bool]] = {"envelopes": envelope_is_signed, "refused": refused_is_signed}
    checked = 0
    for name, is_signed in checks.items():
        for line in journals[name]:
            members = line.members
            if members.get("type") == "SERVER_CLOSE" or "body_sha256" in members:
                continue
            assert is_signed(line, secrets[members["session_id"]]), line.text
            assert not is_signed(line, bytes(32))
            checked += 1
    assert checked >= 20
    first = next(line for line in journals["envelopes"] if line.own_id is not None)
    changed = Line(**{**vars(first), "head": first.head.replace(b'"step":1', b'"step":9')})
    assert not envelope_is_signed(changed, secrets[first.members["session_id"]])


def test_the_place_of_the_clients_own_id_is_found_wherever_it_was() -> None:
    """The page says to try the first place, and then every other one."""
    line = framed(
        b'"envelope_id":"env_1","session_id":"s","attestation":{},"metadata":{"envelope_id":3}', own_id=b'"x"'
    )
    assert list(signed_texts(line)) == [
        b'{"envelope_id":"x","session_id":"s","metadata":{"envelope_id":3}}',
        b'{"session_id":"s","envelope_id":"x","metadata":{"envelope_id":3}}',
        b'{"session_id":"s","metadata":{"envelope_id":3},"envelope_id":"x"}',
    ]


def test_the_readers_ecmascript_is_that_of_the_page() -> None:
    """Numbers, names that are integers, repeated names, escapes."""
    text = rb'{"b": 1.50, "10":1e21, "9": -0.0, "b":1E-7, "c":"\u00e9\ud83d\u000b\/", "d":[100e18, 1e400, true, null]}'
    assert ecmascript(text) == (
        b'{"9":0,"10":1e+21,"b":1e-7,"c":"\xc3\xa9\\ud83d\\u000b/","d":[100000000000000000000,null,true,null]}'
    )

"""Migrations are applied once, in order, whole or not at all."""

import re
import sqlite3
from collections.abc import Iterator

import pytest

from persistence.databases import consents, counters, registry, session_index
from persistence.databases.migrations import (
    LEDGER_SCHEMA,
    SESSIONS_SCHEMA,
    NewerSchema,
    Schema,
    migrate,
    split_statements,
)

AT = "2026-11-20T10:00:00.000000Z"
FIRST = "CREATE TABLE one (a);"
SECOND = "CREATE TABLE two (a);\nINSERT INTO two VALUES (1);"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """An empty database."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_migrations_are_applied_once_and_noted(connection: sqlite3.Connection) -> None:
    assert migrate(connection, Schema("x.db", (FIRST,)), applied_at=AT) == 1
    assert migrate(connection, Schema("x.db", (FIRST, SECOND)), applied_at="later") == 1
    assert migrate(connection, Schema("x.db", (FIRST, SECOND)), applied_at="never") == 0
    assert connection.execute("SELECT * FROM schema_migrations").fetchall() == [(1, AT), (2, "later")]
    assert tables(connection) == {"schema_migrations", "one", "two"}


def test_a_failed_migration_leaves_nothing_of_itself(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError):
        migrate(
            connection, Schema("x.db", (FIRST, "CREATE TABLE two (a);\nINSERT INTO three VALUES (1);")), applied_at=AT
        )
    assert tables(connection) == {"schema_migrations", "one"}
    assert connection.execute("SELECT version FROM schema_migrations").fetchall() == [(1,)]


def test_a_newer_database_is_refused_with_a_sentence(connection: sqlite3.Connection) -> None:
    migrate(connection, Schema("x.db", (FIRST, SECOND)), applied_at=AT)
    with pytest.raises(
        NewerSchema, match=r"x\.db has schema version 2, .* knows only versions up to 1: start the newer"
    ):
        migrate(connection, Schema("x.db", (FIRST,)), applied_at=AT)


def test_statements_are_cut_at_their_ends_and_not_within_triggers() -> None:
    script = """
-- a comment; with a semicolon
CREATE TABLE a (b TEXT DEFAULT ';');
CREATE TRIGGER c AFTER INSERT ON a BEGIN
    UPDATE a SET b = 1;
END;
"""
    assert [statement.split()[-1] for statement in split_statements(script)] == ["';');", "END;"]


def test_the_contract_s_columns_are_there(connection: sqlite3.Connection) -> None:
    """Contract, "Data Storage"."""
    contract = {
        "sessions": "session_id server_private_key server_public_key shared_secret client_public_key provider model "
        "machine_fingerprint app_version_hash groove_version expected_sequence envelope_count status created_at "
        "closed_at",
        "processed_envelopes": "envelope_id session_id processed_at",
        "credits": "id contributor_id session_id points base_points multiplier_breakdown created_at",
        "balances": "contributor_id total_points total_sessions last_credit_at trust_score",
    }
    other = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, SESSIONS_SCHEMA, applied_at=AT)
    migrate(other, LEDGER_SCHEMA, applied_at=AT)
    for table, columns in contract.items():
        source = connection if table in tables(connection) else other
        found = [row[1] for row in source.execute(f"PRAGMA table_info({table})")]
        assert found[: len(columns.split())] == columns.split()
    other.close()


def test_a_trust_score_outside_0_to_10_is_impossible(connection: sqlite3.Connection) -> None:
    migrate(connection, LEDGER_SCHEMA, applied_at=AT)
    connection.execute("INSERT INTO balances (contributor_id, trust_score) VALUES ('a', 10)")
    for wrong in (-0.1, 10.1):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("UPDATE balances SET trust_score = ?", (wrong,))


def test_a_credit_is_never_changed(connection: sqlite3.Connection) -> None:
    migrate(connection, LEDGER_SCHEMA, applied_at=AT)
    connection.execute("INSERT INTO credits VALUES (1, 'c', 's', 5, 5, '{}', ?)", (AT,))
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        connection.execute("UPDATE credits SET points = 6")


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (session_index.SELECT_IDLE, "sessions_active_by_activity"),
        (session_index.SELECT_UNFINISHED, "sessions_unfinished"),
        (session_index.SELECT_PAGE, "sessions_by_age"),
        (registry.SELECT_LIMITING_OF_MACHINE, "sessions_by_machine"),
        (registry.SELECT_LIMITING_OF_CONTRIBUTOR, "sessions_by_subject"),
        (registry.INSERT_SESSION, "sessions_by_machine"),
        (registry.INSERT_SESSION, "sessions_by_subject"),
        (consents.SELECT_EVENTS, "consent_events_by_subject"),
        (consents.SELECT_WITHDRAWN, "consents_withdrawn"),
        (consents.SELECT_MISSING, "consents_missing"),
        (consents.SELECT_OPEN_OF_WITHDRAWN, "first_chunks_by_subject"),
        (registry.SELECT_ACCEPTED, "processed_envelopes_in_order"),
        (session_index.SELECT_POSITIONS, "processed_envelopes_in_order"),
        (registry.SELECT_REFUSED, "refused_envelopes_in_order"),
        (counters.SELECT_NAMED["models"], "models_by_steps"),
        (counters.SELECT_NAMED["providers"], "providers_by_steps"),
    ],
)
def test_queries_over_growing_tables_use_their_index_and_never_sort(
    connection: sqlite3.Connection, query: str, index: str
) -> None:
    migrate(connection, SESSIONS_SCHEMA, applied_at=AT)
    numbers = [int(number) for number in re.findall(r"\?(\d+)", query)]
    placeholders = max(numbers) if numbers else query.count("?")
    plan = " ".join(row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + query, ["x"] * placeholders))
    assert index in plan
    assert "TEMP B-TREE" not in plan


OPENED = """
INSERT INTO sessions (session_id, server_private_key, server_public_key, shared_secret, client_public_key, provider,
    model, machine_fingerprint, app_version_hash, groove_version, created_at, last_activity_at, placeholder)
VALUES (?1, 'k', 'k', 'k', 'k', 'codex', 'gpt-5.5', 'm', 'a', 'g', 'then', 'later', ?2)
"""


def test_what_follows_from_the_journals_is_taken_out_for_the_counts_by_first_chunk(
    connection: sqlite3.Connection,
) -> None:
    """Openings and the key's check stay; a start then projects every line, and nothing is counted before it does."""
    first = Schema("sessions.db", SESSIONS_SCHEMA.migrations[:1])
    migrate(connection, first, applied_at=AT)
    connection.execute("PRAGMA foreign_keys = ON")
    for session_id, is_lost in (("s", 0), ("lost", 1)):
        connection.execute(OPENED, (session_id, is_lost))
        connection.execute("INSERT INTO feedback VALUES (?, 1, 'env', 'accepted', 'then', 0)", (session_id,))
        connection.execute("INSERT INTO sequence_gaps VALUES (?, 1, 1)", (session_id,))
    connection.execute("INSERT INTO key_check VALUES (1, 'sealed')")
    connection.execute("INSERT INTO models VALUES ('gpt-5.5', 2, 3, 4.5)")
    connection.execute("INSERT INTO projection_positions VALUES ('envelopes', 1, '2026-11-20', 100)")
    connection.execute(
        "UPDATE sessions SET status = 'closed', closed_at = 'now', closed_by = 'abandoned', step_count = 3"
    )
    migrate(connection, SESSIONS_SCHEMA, applied_at=AT)
    for table in ("feedback", "sequence_gaps", "models", "projection_positions", "first_chunks"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    assert connection.execute("SELECT session_id, status, step_count, last_activity_at FROM sessions").fetchall() == [
        ("s", "active", 0, "then")
    ]
    assert connection.execute("SELECT sessions, sessions_closed, points FROM totals").fetchall() == [(1, 0, 0)]
    assert connection.execute("SELECT sealed FROM key_check").fetchall() == [("sealed",)]

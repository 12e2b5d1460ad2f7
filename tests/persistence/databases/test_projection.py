"""The rows are a function of the lines: however they are cut into batches and whatever journal comes first."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persistence.databases.database import Statement
from persistence.databases.migrations import LEDGER_SCHEMA, SESSIONS_SCHEMA, migrate
from persistence.databases.projection import project_ledger, project_sessions
from persistence.format import times
from persistence.format.consent_events import (
    BEFORE_FIRST,
    ConsentEvent,
    ConsentSource,
    Decision,
    event_sha256,
    subject_digest,
)
from persistence.format.records import (
    INGESTED,
    ClosedBy,
    Committed,
    ConsentRecord,
    ContributorKeyRecord,
    EnvelopeKind,
    EnvelopeRecord,
    IntakeRecord,
    JournalName,
    Position,
    Record,
    RefusalRecord,
    TrajectoryRecord,
)

NOON = times.from_text("2026-11-20T12:00:00.000000Z")
TABLES = {
    "sessions": "session_id",
    "processed_envelopes": "envelope_id",
    "refused_envelopes": "envelope_id",
    "sequence_gaps": "session_id, before",
    "feedback": "session_id, n",
    "first_chunks": "session_id",
    "trajectories": "session_id",
    "totals": "id",
    "daily": "date",
    "models": "name",
    "providers": "name",
    "projection_positions": "journal",
    "consents": "subject",
    "consent_events": "n",
    "contributor_keys": "subject",
}
LEDGER_TABLES = {
    "credits": "id",
    "balances": "contributor_id",
    "totals": "id",
    "projection_positions": "journal",
    "fingerprints": "fingerprint",
    "gathered_fingerprints": "n",
    "fingerprinted": "n",
}

Rows = dict[str, list[tuple[object, ...]]]


class Both:
    """Both databases in memory, projected into without any position check."""

    def __init__(self, opened: Sequence[str] = ()) -> None:
        self.sessions = sqlite3.connect(":memory:", isolation_level=None)
        self.ledger = sqlite3.connect(":memory:", isolation_level=None)
        for connection, schema in ((self.sessions, SESSIONS_SCHEMA), (self.ledger, LEDGER_SCHEMA)):
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection, schema, applied_at="")
        for session_id in opened:
            self.open(session_id)

    def open(self, session_id: str) -> None:
        self.sessions.execute(
            "INSERT INTO sessions (session_id, server_private_key, server_public_key, shared_secret, "
            "client_public_key, "
            "provider, model, machine_fingerprint, app_version_hash, groove_version, created_at, last_activity_at) "
            "VALUES (?1, 'k', 'k', 'k', 'k', 'codex', 'gpt-5.5', 'm', 'a', 'g', ?2, ?2)",
            (session_id, times.to_text(NOON - 60)),
        )

    def project(self, journal: JournalName, batch: Sequence[Committed]) -> None:
        self._run(self.sessions, project_sessions(journal, batch))
        if journal is JournalName.TRAJECTORIES:
            self._run(self.ledger, project_ledger(batch))

    @staticmethod
    def _run(connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
        connection.execute("BEGIN")
        for statement in statements:
            connection.executemany(statement.sql, statement.rows)
        connection.execute("COMMIT")

    def one(self, sql: str) -> tuple[object, ...]:
        (row,) = self.sessions.execute(sql).fetchall()
        return tuple(row)

    def rows(self) -> tuple[Rows, Rows]:
        return (
            {
                each: self.sessions.execute(f"SELECT * FROM {each} ORDER BY {key}").fetchall()
                for each, key in TABLES.items()
            },
            {
                each: self.ledger.execute(f"SELECT * FROM {each} ORDER BY {key}").fetchall()
                for each, key in LEDGER_TABLES.items()
            },
        )

    def close(self) -> None:
        self.sessions.close()
        self.ledger.close()


def placed(records: Sequence[Record], at: Callable[[int], float] = lambda n: NOON + n) -> list[Committed]:
    return [
        Committed(record, Position(n=n, day="2026-11-20", offset=(n - 1) * 100, length=100, at=at(n)))
        for n, record in enumerate(records, start=1)
    ]


def chunk(
    session: str,
    sequence: int,
    *,
    gap: int = 0,
    model: str = "gpt-5.5",
    provider: str = "codex",
    steps: int = 5,
    chunk_sequence: int | None = None,
    contributor: str = "c0ffee",
) -> EnvelopeRecord:
    return EnvelopeRecord(
        envelope_id=f"env_{session}_{sequence}",
        session_id=session,
        kind=EnvelopeKind.CHUNK,
        sequence=sequence,
        session_hmac=f"{sequence:064x}",
        gap=gap,
        chunk_sequence=sequence if chunk_sequence is None else chunk_sequence,
        contributor_id=contributor,
        provider=provider,
        model=model,
        steps=steps,
    )


def close(session: str, sequence: int) -> EnvelopeRecord:
    return EnvelopeRecord(
        envelope_id=f"env_{session}_{sequence}",
        session_id=session,
        kind=EnvelopeKind.SESSION_CLOSE,
        sequence=sequence,
        closed_by=ClosedBy.SESSION_CLOSE,
    )


def server_close(session: str) -> EnvelopeRecord:
    return EnvelopeRecord(
        envelope_id=f"env_{session}_end",
        session_id=session,
        kind=EnvelopeKind.SERVER_CLOSE,
        closed_by=ClosedBy.ABANDONED,
    )


def feedback(session: str, name: str) -> EnvelopeRecord:
    return EnvelopeRecord(
        envelope_id=f"env_{session}_{name}",
        session_id=session,
        kind=EnvelopeKind.USER_FEEDBACK,
        session_hmac=name,
        signal="accepted",
    )


def refusal(session: str, sequence: int | None, *, gap: int = 0) -> RefusalRecord:
    return RefusalRecord(
        envelope_id=f"env_{session}_refused_{sequence}",
        session_id=session,
        kind="CHUNK",
        sequence=sequence,
        session_hmac="ab",
        gap=gap,
        code="schema",
        reason="step 1 has no type",
    )


def consent(contributor: str, decision: Decision, name: str) -> ConsentRecord:
    event = ConsentEvent(
        id=name,
        subject=subject_digest(contributor),
        at_us=1,
        state=decision,
        version="1.0",
        purposes=("training",),
        notice_version="1.0",
        notice_sha256=BEFORE_FIRST,
        source=ConsentSource.API,
        previous_sha256=BEFORE_FIRST,
    )
    return ConsentRecord(event=event, sha256=event_sha256(event))


def trajectory(
    session: str, points: float, *, contributor: str = "c0ffee", model: str = "gpt-5.5", name: str = "traj"
) -> TrajectoryRecord:
    return TrajectoryRecord(
        trajectory_id=f"{name}_{session}",
        session_id=session,
        contributor_id=contributor,
        provider="codex",
        model=model,
        steps=5,
        tokens=50,
        chunks=1,
        base_points=5,
        total_points=points,
        multiplier_breakdown="{}",
        closed_by=ClosedBy.SESSION_CLOSE,
    )


@pytest.fixture
def both() -> Iterator[Both]:
    """Both databases, the session `s` opened."""
    databases = Both(["s"])
    yield databases
    databases.close()


def test_chunks_move_the_sequence_and_the_counts(both: Both) -> None:
    both.project(JournalName.ENVELOPES, placed([chunk("s", 0, steps=3), chunk("s", 1, steps=4)]))
    assert both.one(
        "SELECT expected_sequence, envelope_count, chunk_count, step_count, bytes_total, status, last_activity_at "
        "FROM sessions"
    ) == (2, 2, 2, 7, 200, "active", "2026-11-20T12:00:02.000000Z")
    assert both.one("SELECT envelopes, steps, sessions, sessions_closed, sessions_with_chunks FROM totals") == (
        2,
        7,
        1,
        0,
        1,
    )
    assert both.one("SELECT * FROM models") == ("gpt-5.5", 1, 7, 0)
    assert both.one("SELECT * FROM providers") == ("codex", 1, 7, 0)
    assert both.one("SELECT * FROM daily") == ("2026-11-20", 2, 7, 0, 0)
    assert both.one("SELECT * FROM projection_positions") == ("envelopes", 2, "2026-11-20", 200)


def test_a_refused_envelope_consumes_its_sequence_and_counts_for_the_limit_but_is_not_an_envelope(both: Both) -> None:
    both.project(JournalName.REFUSED, placed([refusal("s", 0), refusal("s", 3, gap=2), refusal("s", None)]))
    assert both.one("SELECT expected_sequence, envelope_count, chunk_count, bytes_total FROM sessions") == (4, 3, 0, 0)
    assert both.one("SELECT * FROM sequence_gaps") == ("s", 3, 2)
    assert both.one("SELECT envelopes, steps FROM totals") == (0, 0)


def test_a_session_close_closes_and_is_an_envelope(both: Both) -> None:
    both.project(JournalName.ENVELOPES, placed([chunk("s", 0), close("s", 1)]))
    assert both.one("SELECT status, closed_at, closed_by, envelope_count, expected_sequence FROM sessions") == (
        "closed",
        "2026-11-20T12:00:02.000000Z",
        "session_close",
        2,
        2,
    )
    assert both.one("SELECT envelopes, sessions_closed FROM totals") == (2, 1)


def test_a_server_close_closes_and_is_no_envelope(both: Both) -> None:
    both.project(JournalName.ENVELOPES, placed([chunk("s", 0), server_close("s")]))
    assert both.one("SELECT status, closed_by, envelope_count, expected_sequence FROM sessions") == (
        "closed",
        "abandoned",
        1,
        1,
    )
    assert both.one("SELECT envelopes, sessions_closed FROM totals") == (1, 1)
    assert both.one("SELECT envelopes FROM daily") == (1,)


def test_feedback_after_the_close_is_late_and_linked_to_the_trajectory(both: Both) -> None:
    both.project(JournalName.TRAJECTORIES, placed([trajectory("s", 5)]))
    lines = placed([feedback("s", "early"), close("s", 0), feedback("s", "late"), feedback("s", "later")])
    both.project(JournalName.ENVELOPES, lines[:3])
    both.project(JournalName.ENVELOPES, lines[3:])
    assert both.sessions.execute(
        "SELECT envelope_id, trajectory_id, late FROM trajectory_feedback ORDER BY envelope_id"
    ).fetchall() == [("env_s_early", "traj_s", 0), ("env_s_late", "traj_s", 1), ("env_s_later", "traj_s", 1)]
    assert both.one("SELECT expected_sequence, envelope_count FROM sessions") == (1, 4)


def test_a_session_counts_for_the_model_of_its_first_chunk_only(both: Both) -> None:
    lines = placed([chunk("s", 0, model="a"), chunk("s", 1, model="b"), chunk("s", 2, model="b")])
    both.project(JournalName.ENVELOPES, lines[:1])
    both.project(JournalName.ENVELOPES, lines[1:])
    assert both.sessions.execute("SELECT name, sessions, steps FROM models ORDER BY name").fetchall() == [
        ("a", 1, 5),
        ("b", 0, 10),
    ]


@pytest.mark.parametrize("cut", [1, 2], ids=["in batches of their own", "in one batch"])
def test_a_session_counts_for_what_it_is_credited_under_in_whatever_order_its_chunks_come(both: Both, cut: int) -> None:
    """The first chunk by `chunk_sequence`; of several with the same one, the first that came."""
    lines = placed(
        [
            chunk("s", 0, model="late", provider="codex", chunk_sequence=7),
            chunk("s", 1, model="first", provider="gemini", chunk_sequence=2),
            chunk("s", 2, model="second of the same", chunk_sequence=2),
            chunk("s", 3, model="late", chunk_sequence=9),
        ]
    )
    for start in range(0, 4, cut):
        both.project(JournalName.ENVELOPES, lines[start : start + cut])
    assert both.sessions.execute("SELECT name, sessions, steps FROM models ORDER BY name").fetchall() == [
        ("first", 1, 5),
        ("late", 0, 10),
        ("second of the same", 0, 5),
    ]
    assert both.sessions.execute("SELECT name, sessions FROM providers ORDER BY name").fetchall() == [
        ("codex", 0),
        ("gemini", 1),
    ]
    assert both.one("SELECT sessions_with_chunks FROM totals") == (1,)


def test_a_session_is_credited_once_whatever_else_is_in_the_journal(both: Both) -> None:
    """sessions.db refuses the second trajectory, and the ledger would leave it out."""
    lines = placed([trajectory("s", 33.5), trajectory("s", 99, contributor="thief", name="again")])
    with pytest.raises(sqlite3.IntegrityError):
        both.project(JournalName.TRAJECTORIES, lines)
    both.sessions.execute("ROLLBACK")
    both.project(JournalName.TRAJECTORIES, lines[:1])
    with pytest.raises(sqlite3.IntegrityError):
        both.project(JournalName.TRAJECTORIES, lines[1:])
    both.sessions.execute("ROLLBACK")
    both._run(both.ledger, project_ledger(lines[1:]))
    assert both.ledger.execute("SELECT contributor_id, session_id, points FROM credits").fetchall() == [
        ("c0ffee", "s", 33.5)
    ]
    assert both.ledger.execute("SELECT contributor_id, total_points, total_sessions FROM balances").fetchall() == [
        ("c0ffee", 33.5, 1)
    ]
    assert both.ledger.execute("SELECT credits, contributors, points FROM totals").fetchall() == [(1, 1, 33.5)]
    assert both.one("SELECT trajectory_id FROM sessions") == ("traj_s",)
    assert both.one("SELECT sessions, points FROM daily") == (1, 33.5)
    assert both.one("SELECT points FROM models") == (33.5,)
    assert both.one("SELECT points FROM totals") == (33.5,)


def test_lines_of_a_lost_session_make_an_empty_row(both: Both) -> None:
    both.project(JournalName.ENVELOPES, placed([chunk("lost", 4), server_close("lost")]))
    assert both.one(
        "SELECT shared_secret, placeholder, created_at, status, chunk_count FROM sessions WHERE session_id = 'lost'"
    ) == ("", 1, "2026-11-20T12:00:01.000000Z", "closed", 1)
    assert both.one("SELECT sessions, sessions_closed FROM totals") == (2, 1)


def test_the_same_sequence_twice_is_a_contradiction_and_not_ignored(both: Both) -> None:
    again = chunk("s", 0)
    twice = placed([again, msgspec.structs.replace(again, envelope_id="env_x")])
    with pytest.raises(sqlite3.IntegrityError):
        both.project(JournalName.ENVELOPES, twice)


def test_a_batch_of_another_journal_s_records_is_a_bug(both: Both) -> None:
    with pytest.raises(AssertionError, match="of its own journal only"):
        both.project(JournalName.REFUSED, placed([chunk("s", 0)]))


SESSIONS = ("s1", "s2", "lost")
CHOICES = (
    *("chunk", "chunk", "chunk", "feedback", "refused", "close", "server_close", "trajectory", "consent", "key"),
    "text",
)


def said(choice: str, decision: Decision, whose: str, index: int) -> tuple[JournalName, Record]:
    """An event of somebody's consent, or a text of theirs."""
    if choice == "consent":
        return JournalName.CONSENT, consent(whose, decision, f"consent{index}")
    text = IntakeRecord(record_id=f"text{index}", subject=whose, session_id="s", content_type="prompt")
    return JournalName.INTAKE, text


@st.composite
def histories(draw: st.DrawFn) -> dict[JournalName, list[Committed]]:
    """What three sessions leave in the journals, in an order that a server could have written."""
    journals: dict[JournalName, list[Record]] = {name: [] for name in INGESTED}
    sequences = dict.fromkeys(SESSIONS, 0)
    closed: set[str] = set()
    stitched: set[str] = set()
    keyed: set[str] = set()
    points = st.sampled_from([0.1, 0.2, 33.5, 7])
    for index in range(draw(st.integers(0, 25))):
        session, choice = draw(st.sampled_from(SESSIONS)), draw(st.sampled_from(CHOICES))
        sequence, gap = sequences[session], draw(st.sampled_from([0, 0, 2]))
        match choice:
            case "feedback":
                journals[JournalName.ENVELOPES].append(feedback(session, f"feedback{index}"))
            case "trajectory" if session not in stitched:
                stitched.add(session)
                contributor, model = draw(st.sampled_from("ab")), draw(st.sampled_from("xy"))
                journals[JournalName.TRAJECTORIES].append(
                    trajectory(session, draw(points), contributor=contributor, model=model, name=f"traj{index}")
                )
            case "server_close" if session not in closed:
                journals[JournalName.ENVELOPES].append(server_close(session))
                closed.add(session)
            case "close" if session not in closed:
                journals[JournalName.ENVELOPES].append(close(session, sequence))
                closed.add(session)
                sequences[session] += 1
            case "chunk" if session not in closed:
                model, place, who = draw(st.sampled_from("xy")), draw(st.integers(0, 3)), draw(st.sampled_from("ab"))
                journals[JournalName.ENVELOPES].append(
                    chunk(
                        session,
                        sequence + gap,
                        gap=gap,
                        model=model,
                        provider=model,
                        chunk_sequence=place,
                        contributor=who,
                    )
                )
                sequences[session] += gap + 1
            case "refused" if session not in closed:
                journals[JournalName.REFUSED].append(refusal(session, sequence + gap, gap=gap))
                sequences[session] += gap + 1
            case "consent" | "text":
                decision, whose = draw(st.sampled_from(Decision)), draw(st.sampled_from("ab"))
                name, record = said(choice, decision, whose, index)
                journals[name].append(record)
            case "key" if session not in keyed:
                keyed.add(session)
                journals[JournalName.CONSENT].append(
                    ContributorKeyRecord(subject=subject_digest(session), public_key=f"key{index}", at_us=index)
                )
            case _:
                pass
    hours = draw(st.lists(st.integers(0, 48), min_size=130, max_size=130))
    starts = dict(zip(INGESTED, (0, 25, 50, 75, 100), strict=True))
    return {
        name: placed(records, lambda n, start=starts[name]: NOON + 3_600 * hours[start + n] + n)  # type: ignore[misc]
        for name, records in journals.items()
    }


@settings(max_examples=150, deadline=None)
@given(histories(), st.data())
def test_rows_do_not_depend_on_batches_or_on_which_journal_comes_first(
    history: dict[JournalName, list[Committed]], data: st.DataObject
) -> None:
    expected, other = Both(SESSIONS[:2]), Both(SESSIONS[:2])
    try:
        for name in INGESTED:
            for item in history[name]:
                expected.project(name, [item])
        waiting = {name: list(items) for name, items in history.items() if items}
        while waiting:
            name = data.draw(st.sampled_from(sorted(waiting)))
            size = data.draw(st.integers(1, len(waiting[name])))
            other.project(name, waiting[name][:size])
            waiting[name] = waiting[name][size:]
            if not waiting[name]:
                del waiting[name]
        assert other.rows() == expected.rows()
    finally:
        expected.close()
        other.close()


@settings(max_examples=50, deadline=None)
@given(histories())
def test_the_counters_are_the_sums_of_the_rows(history: dict[JournalName, list[Committed]]) -> None:
    both = Both(SESSIONS[:2])
    try:
        for name, items in history.items():
            if items:
                both.project(name, items)
        sums = (
            "SELECT (SELECT count(*) FROM processed_envelopes WHERE kind <> 'SERVER_CLOSE'), "
            "(SELECT coalesce(sum(steps), 0) FROM processed_envelopes), (SELECT count(*) FROM sessions), "
            "(SELECT count(*) FROM sessions WHERE status = 'closed'), "
            "(SELECT count(*) FROM sessions WHERE chunk_count > 0)"
        )
        totals = both.one("SELECT envelopes, steps, sessions, sessions_closed, sessions_with_chunks FROM totals")
        assert totals == both.one(sums)
        assert both.one("SELECT coalesce(sum(sessions), 0), coalesce(sum(steps), 0) FROM models") == (
            totals[4],
            totals[1],
        )
        assert both.one("SELECT coalesce(sum(sessions), 0), coalesce(sum(steps), 0) FROM providers") == (
            totals[4],
            totals[1],
        )
        assert both.one("SELECT coalesce(sum(envelopes), 0), coalesce(sum(steps), 0) FROM daily") == totals[:2]
    finally:
        both.close()

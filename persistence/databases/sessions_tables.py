"""The tables of sessions.db: a migration a version (`migrations`)."""

SESSIONS_1 = """
CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    server_private_key TEXT NOT NULL,
    server_public_key TEXT NOT NULL,
    shared_secret TEXT NOT NULL,
    client_public_key TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    machine_fingerprint TEXT NOT NULL,
    app_version_hash TEXT NOT NULL,
    groove_version TEXT NOT NULL,
    expected_sequence INTEGER DEFAULT 0,
    envelope_count INTEGER DEFAULT 0,
    status TEXT DEFAULT 'active' CHECK (status IN ('active', 'closed')),
    created_at TEXT NOT NULL,
    closed_at TEXT,
    closed_by TEXT,
    chunk_count INTEGER NOT NULL DEFAULT 0,
    step_count INTEGER NOT NULL DEFAULT 0,
    bytes_total INTEGER NOT NULL DEFAULT 0,
    last_activity_at TEXT NOT NULL,
    trajectory_id TEXT,
    -- 1 when lines name the session, but its opening was lost with an earlier database.
    placeholder INTEGER NOT NULL DEFAULT 0,
    CHECK ((status = 'closed') = (closed_at IS NOT NULL)),
    CHECK ((status = 'closed') = (closed_by IS NOT NULL))
);
CREATE INDEX sessions_by_machine ON sessions (machine_fingerprint, created_at);
CREATE INDEX sessions_by_age ON sessions (created_at, session_id);
CREATE INDEX sessions_active_by_activity ON sessions (last_activity_at, session_id) WHERE status = 'active';
CREATE INDEX sessions_unfinished ON sessions (session_id)
    WHERE status = 'closed' AND chunk_count > 0 AND trajectory_id IS NULL;

CREATE TABLE processed_envelopes (
    envelope_id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (session_id),
    processed_at TEXT NOT NULL,
    kind TEXT NOT NULL,
    sequence INTEGER,
    session_hmac TEXT NOT NULL,
    chunk_sequence INTEGER,
    steps INTEGER NOT NULL,
    signal TEXT,
    gap INTEGER NOT NULL,
    n INTEGER NOT NULL,
    day TEXT NOT NULL,
    "offset" INTEGER NOT NULL,
    length INTEGER NOT NULL
);
CREATE UNIQUE INDEX processed_envelopes_by_sequence ON processed_envelopes (session_id, sequence)
    WHERE sequence IS NOT NULL;
CREATE UNIQUE INDEX processed_envelopes_in_order ON processed_envelopes (session_id, n);

CREATE TABLE refused_envelopes (
    envelope_id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (session_id),
    refused_at TEXT NOT NULL,
    kind TEXT NOT NULL,
    sequence INTEGER,
    session_hmac TEXT NOT NULL,
    gap INTEGER NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    n INTEGER NOT NULL,
    day TEXT NOT NULL,
    "offset" INTEGER NOT NULL,
    length INTEGER NOT NULL
);
CREATE UNIQUE INDEX refused_envelopes_in_order ON refused_envelopes (session_id, n);

CREATE TABLE sequence_gaps (
    session_id TEXT NOT NULL REFERENCES sessions (session_id),
    -- The sequence that arrived, and how many just before it never did.
    before INTEGER NOT NULL,
    missing INTEGER NOT NULL CHECK (missing > 0),
    PRIMARY KEY (session_id, before)
) WITHOUT ROWID;

CREATE TABLE feedback (
    session_id TEXT NOT NULL REFERENCES sessions (session_id),
    n INTEGER NOT NULL,
    envelope_id TEXT NOT NULL,
    signal TEXT,
    received_at TEXT NOT NULL,
    -- 1 when it came after the session's close.
    late INTEGER NOT NULL,
    PRIMARY KEY (session_id, n)
) WITHOUT ROWID;

CREATE TABLE trajectories (
    session_id TEXT PRIMARY KEY REFERENCES sessions (session_id),
    trajectory_id TEXT NOT NULL UNIQUE,
    contributor_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    points REAL NOT NULL,
    steps INTEGER NOT NULL,
    closed_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    n INTEGER NOT NULL,
    day TEXT NOT NULL,
    "offset" INTEGER NOT NULL,
    length INTEGER NOT NULL
);
CREATE VIEW trajectory_feedback AS
    SELECT trajectories.trajectory_id, feedback.session_id, feedback.envelope_id, feedback.signal,
        feedback.received_at, feedback.late
    FROM feedback JOIN trajectories USING (session_id);

CREATE TABLE totals (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    envelopes INTEGER NOT NULL DEFAULT 0,
    steps INTEGER NOT NULL DEFAULT 0,
    sessions INTEGER NOT NULL DEFAULT 0,
    sessions_closed INTEGER NOT NULL DEFAULT 0,
    -- Sessions with a chunk, and points credited: the sums of those columns in models and in providers.
    sessions_with_chunks INTEGER NOT NULL DEFAULT 0,
    points REAL NOT NULL DEFAULT 0
);
INSERT INTO totals (id) VALUES (1);
CREATE TABLE daily (
    date TEXT PRIMARY KEY,
    envelopes INTEGER NOT NULL DEFAULT 0,
    steps INTEGER NOT NULL DEFAULT 0,
    sessions INTEGER NOT NULL DEFAULT 0,
    points REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE models (
    name TEXT PRIMARY KEY,
    sessions INTEGER NOT NULL DEFAULT 0,
    steps INTEGER NOT NULL DEFAULT 0,
    points REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX models_by_steps ON models (steps DESC, name);
CREATE TABLE providers (
    name TEXT PRIMARY KEY,
    sessions INTEGER NOT NULL DEFAULT 0,
    steps INTEGER NOT NULL DEFAULT 0,
    points REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX providers_by_steps ON providers (steps DESC, name);

CREATE TRIGGER sessions_opened AFTER INSERT ON sessions BEGIN
    UPDATE totals SET sessions = sessions + 1;
END;
CREATE TRIGGER sessions_closed AFTER UPDATE OF status ON sessions
WHEN OLD.status = 'active' AND NEW.status = 'closed' BEGIN
    UPDATE totals SET sessions_closed = sessions_closed + 1;
END;
CREATE TRIGGER trajectories_credited AFTER INSERT ON trajectories BEGIN
    UPDATE sessions SET trajectory_id = NEW.trajectory_id, last_activity_at = max(last_activity_at, NEW.created_at)
        WHERE session_id = NEW.session_id;
    INSERT INTO daily (date, sessions, points) VALUES (substr(NEW.created_at, 1, 10), 1, NEW.points)
        ON CONFLICT (date) DO UPDATE SET sessions = sessions + 1, points = points + excluded.points;
    INSERT INTO models (name, points) VALUES (NEW.model, NEW.points)
        ON CONFLICT (name) DO UPDATE SET points = points + excluded.points;
    INSERT INTO providers (name, points) VALUES (NEW.provider, NEW.points)
        ON CONFLICT (name) DO UPDATE SET points = points + excluded.points;
    UPDATE totals SET points = points + NEW.points;
END;

CREATE TABLE projection_positions (
    journal TEXT PRIMARY KEY CHECK (journal IN ('envelopes', 'refused', 'trajectories')),
    n INTEGER NOT NULL,
    day TEXT NOT NULL,
    next_offset INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE key_check (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- A known text under the master key: another key is noticed at the start, not at the first session.
    sealed TEXT NOT NULL
);
"""

# A session counts for the model and the agent that its trajectory is credited under: those of its first chunk by
# chunk_sequence, of all that have come so far. What earlier counts went by cannot be told from the rows, so everything
# that follows from the journals is taken out, and the start that migrates projects all of them anew.
SESSIONS_2 = """
CREATE TABLE first_chunks (
    session_id TEXT PRIMARY KEY REFERENCES sessions (session_id),
    chunk_sequence INTEGER NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER first_chunks_counted AFTER INSERT ON first_chunks BEGIN
    INSERT INTO models (name, sessions) VALUES (NEW.model, 1)
        ON CONFLICT (name) DO UPDATE SET sessions = sessions + 1;
    INSERT INTO providers (name, sessions) VALUES (NEW.provider, 1)
        ON CONFLICT (name) DO UPDATE SET sessions = sessions + 1;
    UPDATE totals SET sessions_with_chunks = sessions_with_chunks + 1;
END;
CREATE TRIGGER first_chunks_replaced AFTER UPDATE OF provider, model ON first_chunks BEGIN
    UPDATE models SET sessions = sessions - 1 WHERE name = OLD.model;
    INSERT INTO models (name, sessions) VALUES (NEW.model, 1)
        ON CONFLICT (name) DO UPDATE SET sessions = sessions + 1;
    UPDATE providers SET sessions = sessions - 1 WHERE name = OLD.provider;
    INSERT INTO providers (name, sessions) VALUES (NEW.provider, 1)
        ON CONFLICT (name) DO UPDATE SET sessions = sessions + 1;
END;

DELETE FROM projection_positions;
DELETE FROM trajectories;
DELETE FROM processed_envelopes;
DELETE FROM refused_envelopes;
DELETE FROM sequence_gaps;
DELETE FROM feedback;
DELETE FROM daily;
DELETE FROM models;
DELETE FROM providers;
DELETE FROM sessions WHERE placeholder = 1;
UPDATE sessions SET expected_sequence = 0, envelope_count = 0, status = 'active', closed_at = NULL, closed_by = NULL,
    chunk_count = 0, step_count = 0, bytes_total = 0, last_activity_at = created_at, trajectory_id = NULL;
UPDATE totals SET envelopes = 0, steps = 0, sessions = (SELECT count(*) FROM sessions), sessions_closed = 0,
    sessions_with_chunks = 0, points = 0;
"""

# What of a trajectory stood in an earlier one, and earned nothing. Lines of earlier versions do not say it.
# A letter may be kept without its body, and is counted then; a session that nothing came from yet is counted, because
# openings are bounded by it, and goes again without a trace.
SESSIONS_3 = """
ALTER TABLE trajectories ADD COLUMN copied_steps INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trajectories ADD COLUMN copied_from TEXT;
ALTER TABLE refused_envelopes ADD COLUMN with_body INTEGER NOT NULL DEFAULT 1;
ALTER TABLE totals ADD COLUMN refused_without_body INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN sessions_unused INTEGER NOT NULL DEFAULT 0;
CREATE INDEX sessions_unused ON sessions (created_at, session_id)
    WHERE envelope_count = 0 AND status = 'active' AND placeholder = 0;
CREATE TRIGGER refused_without_body AFTER INSERT ON refused_envelopes WHEN NEW.with_body = 0 BEGIN
    UPDATE totals SET refused_without_body = refused_without_body + 1;
END;
CREATE TRIGGER sessions_opened_unused AFTER INSERT ON sessions WHEN NEW.placeholder = 0 BEGIN
    UPDATE totals SET sessions_unused = sessions_unused + 1;
END;
CREATE TRIGGER sessions_used AFTER UPDATE OF envelope_count, status ON sessions
WHEN OLD.envelope_count = 0 AND OLD.status = 'active' AND OLD.placeholder = 0
    AND (NEW.envelope_count > 0 OR NEW.status = 'closed') BEGIN
    UPDATE totals SET sessions_unused = sessions_unused - 1;
END;
CREATE TRIGGER sessions_forgotten AFTER DELETE ON sessions BEGIN
    UPDATE totals SET sessions = sessions - 1, sessions_unused = sessions_unused - 1;
END;
CREATE TRIGGER sessions_kept BEFORE DELETE ON sessions
WHEN OLD.envelope_count > 0 OR OLD.status != 'active' OR OLD.placeholder = 1 BEGIN
    SELECT RAISE(ABORT, 'only a session that was never used is deleted');
END;
UPDATE totals SET sessions_unused = (SELECT count(*) FROM sessions
    WHERE envelope_count = 0 AND status = 'active' AND placeholder = 0);
"""

# What contributors said of their data, and the keys that they registered. Which contributor a session's chunks name
# cannot be told from the rows, so everything that follows from envelopes and trajectories is taken out, and the start
# that migrates projects it anew; what refused envelopes say stays, because their lines may have been dropped. A session
# that its contributor's withdrawal has ended is never stitched.
SESSIONS_4 = """
CREATE TABLE consents (
    subject TEXT PRIMARY KEY,
    -- When the first chunk came that names the contributor; NULL before.
    first_chunk_at TEXT,
    -- What the last event says; NULL without one.
    state TEXT CHECK (state IN ('given', 'withdrawn')),
    version TEXT,
    source TEXT,
    changed_at TEXT,
    n INTEGER
) WITHOUT ROWID;
CREATE INDEX consents_missing ON consents (subject) WHERE state IS NULL;
CREATE INDEX consents_withdrawn ON consents (subject) WHERE state = 'withdrawn';
CREATE TABLE consent_events (
    n INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    subject TEXT NOT NULL,
    previous_sha256 TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    day TEXT NOT NULL,
    "offset" INTEGER NOT NULL,
    length INTEGER NOT NULL,
    received_at TEXT NOT NULL
);
CREATE INDEX consent_events_by_subject ON consent_events (subject, n);
CREATE TABLE contributor_keys (
    subject TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    registered_at TEXT NOT NULL,
    n INTEGER NOT NULL
) WITHOUT ROWID;

ALTER TABLE sessions ADD COLUMN subject TEXT NOT NULL DEFAULT '';
CREATE INDEX sessions_by_subject ON sessions (subject, created_at) WHERE subject != '';
ALTER TABLE first_chunks ADD COLUMN subject TEXT NOT NULL DEFAULT '';
CREATE INDEX first_chunks_by_subject ON first_chunks (subject);
DROP INDEX sessions_unfinished;
CREATE INDEX sessions_unfinished ON sessions (session_id)
    WHERE status = 'closed' AND chunk_count > 0 AND trajectory_id IS NULL AND closed_by != 'withdrawn';

ALTER TABLE projection_positions RENAME TO former_positions;
CREATE TABLE projection_positions (
    journal TEXT PRIMARY KEY CHECK (journal IN ('envelopes', 'refused', 'trajectories', 'consent')),
    n INTEGER NOT NULL,
    day TEXT NOT NULL,
    next_offset INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO projection_positions SELECT journal, n, day, next_offset FROM former_positions WHERE journal = 'refused';
DROP TABLE former_positions;
DELETE FROM trajectories;
DELETE FROM processed_envelopes;
DELETE FROM feedback;
DELETE FROM first_chunks;
DELETE FROM daily;
DELETE FROM models;
DELETE FROM providers;
DELETE FROM sequence_gaps WHERE NOT EXISTS (SELECT 1 FROM refused_envelopes AS r
    WHERE r.session_id = sequence_gaps.session_id AND r.sequence = sequence_gaps.before AND r.gap > 0);
UPDATE sessions SET status = 'active', closed_at = NULL, closed_by = NULL, chunk_count = 0, step_count = 0,
    bytes_total = 0, trajectory_id = NULL,
    expected_sequence = coalesce((SELECT max(sequence) + 1 FROM refused_envelopes AS r
        WHERE r.session_id = sessions.session_id), 0),
    envelope_count = (SELECT count(*) FROM refused_envelopes AS r WHERE r.session_id = sessions.session_id),
    last_activity_at = max(created_at, coalesce((SELECT max(refused_at) FROM refused_envelopes AS r
        WHERE r.session_id = sessions.session_id), ''));
UPDATE totals SET envelopes = 0, steps = 0, sessions_closed = 0, sessions_with_chunks = 0, points = 0,
    sessions_unused = (SELECT count(*) FROM sessions
        WHERE envelope_count = 0 AND status = 'active' AND placeholder = 0);
"""

# Lines of the journals may be erased ones, which programs that know versions up to 4 cannot read. A session's row is
# replaced by one of another name then; the former is marked by a `placeholder` of 2, and goes in the same transaction.
SESSIONS_5 = """
DROP TRIGGER sessions_kept;
DROP TRIGGER sessions_forgotten;
CREATE TRIGGER sessions_forgotten AFTER DELETE ON sessions BEGIN
    UPDATE totals SET sessions = sessions - 1, sessions_unused = sessions_unused - (OLD.placeholder = 0);
END;
CREATE TRIGGER sessions_kept BEFORE DELETE ON sessions
WHEN OLD.placeholder != 2 AND (OLD.envelope_count > 0 OR OLD.status != 'active' OR OLD.placeholder = 1) BEGIN
    SELECT RAISE(ABORT, 'only a session that was never used is deleted, or one that is erased');
END;
"""

# Texts that applications hand over for their users (intake/), found by their users.
SESSIONS_6 = """
CREATE TABLE intake_records (
    record_id TEXT PRIMARY KEY,
    -- The digest that stands for the user.
    subject TEXT NOT NULL,
    session_id TEXT NOT NULL,
    content_type TEXT NOT NULL,
    received_at TEXT NOT NULL,
    n INTEGER NOT NULL UNIQUE,
    day TEXT NOT NULL,
    "offset" INTEGER NOT NULL,
    length INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX intake_records_by_subject ON intake_records (subject, n);

ALTER TABLE projection_positions RENAME TO former_positions;
CREATE TABLE projection_positions (
    journal TEXT PRIMARY KEY CHECK (journal IN ('envelopes', 'refused', 'trajectories', 'consent', 'intake')),
    n INTEGER NOT NULL,
    day TEXT NOT NULL,
    next_offset INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO projection_positions SELECT journal, n, day, next_offset FROM former_positions;
DROP TABLE former_positions;
"""

# A line of the envelopes journal may be taken in from a dead letter, late, which programs that know versions up to 6
# take for one that came in order. Dead letters are listed by their numbers, by why they were refused, and by the day.
SESSIONS_7 = """
-- The number of the line in refused/ that it was taken in from; NULL for what came by itself.
ALTER TABLE processed_envelopes ADD COLUMN letter INTEGER;
CREATE INDEX processed_envelopes_by_letter ON processed_envelopes (letter) WHERE letter IS NOT NULL;
CREATE UNIQUE INDEX refused_envelopes_by_n ON refused_envelopes (n);
CREATE INDEX refused_envelopes_by_code ON refused_envelopes (code, n);
CREATE INDEX refused_envelopes_by_day ON refused_envelopes (day, n);
"""

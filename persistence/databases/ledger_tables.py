"""The tables of ledger.db: a migration a version (`migrations`)."""

LEDGER_1 = """
CREATE TABLE credits (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    contributor_id TEXT NOT NULL,
    session_id TEXT NOT NULL UNIQUE,
    points REAL NOT NULL,
    base_points INTEGER NOT NULL,
    multiplier_breakdown TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE TABLE balances (
    contributor_id TEXT PRIMARY KEY,
    total_points REAL NOT NULL DEFAULT 0,
    total_sessions INTEGER NOT NULL DEFAULT 0,
    last_credit_at TEXT,
    trust_score REAL NOT NULL DEFAULT 1.0 CHECK (trust_score BETWEEN 0 AND 10)
);
CREATE INDEX balances_by_points ON balances (total_points DESC, contributor_id);
CREATE TABLE totals (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    credits INTEGER NOT NULL DEFAULT 0,
    contributors INTEGER NOT NULL DEFAULT 0,
    points REAL NOT NULL DEFAULT 0
);
INSERT INTO totals (id) VALUES (1);
CREATE TRIGGER credits_balanced AFTER INSERT ON credits BEGIN
    INSERT INTO balances (contributor_id, total_points, total_sessions, last_credit_at)
        VALUES (NEW.contributor_id, NEW.points, 1, NEW.created_at)
        ON CONFLICT (contributor_id) DO UPDATE SET total_points = total_points + excluded.total_points,
            total_sessions = total_sessions + 1, last_credit_at = excluded.last_credit_at;
    UPDATE totals SET credits = credits + 1, points = points + NEW.points;
END;
CREATE TRIGGER balances_counted AFTER INSERT ON balances BEGIN
    UPDATE totals SET contributors = contributors + 1;
END;
CREATE TRIGGER credits_final BEFORE UPDATE ON credits BEGIN
    SELECT RAISE(ABORT, 'a credit is never changed');
END;
CREATE TABLE projection_positions (
    journal TEXT PRIMARY KEY CHECK (journal = 'trajectories'),
    n INTEGER NOT NULL,
    day TEXT NOT NULL,
    next_offset INTEGER NOT NULL
) WITHOUT ROWID;
"""

# Fingerprints of runs of steps, each with the trajectory that it was first seen in. Those of earlier trajectories come
# from their lines, so everything that follows from the journal is taken out, and the start that migrates projects all
# of it anew. A contributor's trust follows from nothing, so the rows of `balances` stay.
LEDGER_2 = """
CREATE TABLE fingerprints (
    fingerprint INTEGER PRIMARY KEY,
    -- Line number of the trajectory in its journal.
    n INTEGER NOT NULL,
    step INTEGER NOT NULL
);
CREATE TABLE fingerprinted (
    n INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL,
    trajectory_id TEXT NOT NULL
);
DELETE FROM projection_positions;
DELETE FROM credits;
DELETE FROM sqlite_sequence WHERE name = 'credits';
UPDATE balances SET total_points = 0, total_sessions = 0, last_credit_at = NULL;
UPDATE totals SET credits = 0, points = 0;
"""

# Fingerprints are computed in another way, and there are some of a trajectory's last steps: all of them are made anew
# from the journal, together with what else follows from it, as above.
LEDGER_3 = """
DELETE FROM fingerprints;
DELETE FROM fingerprinted;
DELETE FROM projection_positions;
DELETE FROM credits;
DELETE FROM sqlite_sequence WHERE name = 'credits';
UPDATE balances SET total_points = 0, total_sessions = 0, last_credit_at = NULL;
UPDATE totals SET credits = 0, points = 0;
"""

# A credit stays what it was worth, and when; whose it was, and for which session, may be erased.
LEDGER_4 = """
DROP TRIGGER credits_final;
CREATE TRIGGER credits_final BEFORE UPDATE ON credits
WHEN NEW.id != OLD.id OR NEW.points != OLD.points OR NEW.base_points != OLD.base_points
    OR NEW.multiplier_breakdown != OLD.multiplier_breakdown OR NEW.created_at != OLD.created_at
    OR substr(NEW.contributor_id, 1, 3) != 'er_' OR substr(NEW.session_id, 1, 7) != 'erased_' BEGIN
    SELECT RAISE(ABORT, 'a credit is never changed, only whose it was can be erased');
END;
"""

# Fingerprints are gathered, a row for each line, until there are so many that putting them in their places pays: their
# keys are chance, so each has a page of the table to itself, which is written whole, and of many in order some share
# one. It is done at the same lines whatever batches they come in, so that equal journals have equal rows: which is why
# all of it is made anew from the journal here, as above.
GATHERED = """
DROP TABLE IF EXISTS gathered_fingerprints;
CREATE TABLE gathered_fingerprints (
    n INTEGER PRIMARY KEY,
    -- How many fingerprints this row and those before it have together.
    total INTEGER NOT NULL,
    -- A JSON list: the fingerprint of each step, in the trajectory's order.
    fingerprints TEXT NOT NULL
);
CREATE TRIGGER fingerprints_placed AFTER INSERT ON gathered_fingerprints WHEN NEW.total >= 65536 BEGIN
    INSERT INTO fingerprints (fingerprint, n, step)
        SELECT each.value, gathered.n, each.key + 1
        FROM gathered_fingerprints AS gathered, json_each(gathered.fingerprints) AS each
        WHERE true ORDER BY each.value, gathered.n, each.key
        ON CONFLICT (fingerprint) DO NOTHING;
    DELETE FROM gathered_fingerprints;
END;
"""
LEDGER_5 = GATHERED + LEDGER_3

# Where in its line a run stands was asked by nobody, and took a fifth of the table's pages, each of which is written
# anew when what is gathered is put in its place.
LEDGER_6 = """
DROP TRIGGER fingerprints_placed;
ALTER TABLE fingerprints DROP COLUMN step;
CREATE TRIGGER fingerprints_placed AFTER INSERT ON gathered_fingerprints WHEN NEW.total >= 65536 BEGIN
    INSERT INTO fingerprints (fingerprint, n)
        SELECT each.value, min(gathered.n)
        FROM gathered_fingerprints AS gathered, json_each(gathered.fingerprints) AS each
        GROUP BY each.value
        ON CONFLICT (fingerprint) DO NOTHING;
    DELETE FROM gathered_fingerprints;
END;
"""

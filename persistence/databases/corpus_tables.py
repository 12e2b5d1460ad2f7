"""The tables of corpus.db: a migration a version (`migrations`)."""

# `records` and what belongs to them follow from the lines of corpus/. `passed_over` is why a trajectory has none,
# `attempts` how often making one has begun, and the positions are those of curation in what it follows.
CORPUS_1 = """
CREATE TABLE records (
    trajectory_id TEXT PRIMARY KEY,
    record_id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL UNIQUE,
    contributor_id TEXT NOT NULL,
    rules TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    started_at TEXT,
    steps INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    feedback INTEGER NOT NULL,
    findings INTEGER NOT NULL,
    withheld INTEGER NOT NULL,
    cognitive_target TEXT,
    quality INTEGER NOT NULL,
    tier TEXT NOT NULL,
    training_eligible INTEGER NOT NULL,
    domain TEXT,
    sha256 TEXT NOT NULL,
    cluster TEXT NOT NULL,
    minima BLOB NOT NULL,
    curated_at TEXT NOT NULL,
    n INTEGER NOT NULL,
    day TEXT NOT NULL,
    "offset" INTEGER NOT NULL,
    length INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX records_by_contributor ON records (contributor_id, trajectory_id);
CREATE INDEX records_by_n ON records (n);
CREATE INDEX records_by_sha256 ON records (sha256);
CREATE INDEX records_by_cluster ON records (cluster);

CREATE TABLE bands (
    -- Part of a signature: records that share one may be near copies.
    band INTEGER NOT NULL,
    trajectory_id TEXT NOT NULL,
    PRIMARY KEY (band, trajectory_id)
) WITHOUT ROWID;
CREATE INDEX bands_by_trajectory ON bands (trajectory_id);

CREATE TABLE passed_over (
    trajectory_id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    contributor_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    rules TEXT NOT NULL,
    noted_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX passed_over_by_reason ON passed_over (reason);
CREATE INDEX passed_over_by_session ON passed_over (session_id);
CREATE INDEX passed_over_by_contributor ON passed_over (contributor_id, trajectory_id);

CREATE TABLE attempts (
    trajectory_id TEXT PRIMARY KEY,
    begun INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE consent_terms (
    -- By which settings consent was asked for, as one text: one row, none before curation has run.
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    terms TEXT NOT NULL
);

CREATE TABLE projection_positions (
    journal TEXT PRIMARY KEY CHECK (journal IN ('corpus', 'trajectories', 'envelopes', 'consent')),
    n INTEGER NOT NULL,
    day TEXT NOT NULL,
    next_offset INTEGER NOT NULL
) WITHOUT ROWID;
"""

# A second kind of line in corpus/: what a judge said of a record. `judging` is how far asking has come, `unanswered`
# what was asked about without an answer.
CORPUS_2 = """
CREATE TABLE judgements (
    trajectory_id TEXT PRIMARY KEY,
    rules TEXT NOT NULL,
    model TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    cognitive_target TEXT NOT NULL,
    quality INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    rationale TEXT NOT NULL,
    judged_at TEXT NOT NULL,
    n INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE unanswered (
    trajectory_id TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    asked_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE judging (
    -- One row, none before a judge was asked.
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    judge TEXT NOT NULL,
    -- The line of corpus/ up to which all records were looked at.
    n INTEGER NOT NULL,
    day TEXT NOT NULL,
    tokens INTEGER NOT NULL
);
"""


# Texts of the intake, beside the trajectories: `texts` follows from the lines of corpus/, `texts_passed_over` is why
# there is no record of one.
CORPUS_3 = """
CREATE TABLE texts (
    record_id TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    session_id TEXT NOT NULL,
    content_type TEXT NOT NULL,
    domain TEXT NOT NULL,
    chars INTEGER NOT NULL,
    findings INTEGER NOT NULL,
    withheld INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    rules TEXT NOT NULL,
    curated_at TEXT NOT NULL,
    n INTEGER NOT NULL,
    day TEXT NOT NULL,
    "offset" INTEGER NOT NULL,
    length INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX texts_by_subject ON texts (subject, record_id);
CREATE INDEX texts_by_session ON texts (session_id, record_id);
CREATE INDEX texts_by_n ON texts (n);
CREATE INDEX texts_by_sha256 ON texts (sha256);

CREATE TABLE texts_passed_over (
    record_id TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    rules TEXT NOT NULL,
    noted_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX texts_passed_over_by_reason ON texts_passed_over (reason);
CREATE INDEX texts_passed_over_by_subject ON texts_passed_over (subject, record_id);

ALTER TABLE projection_positions RENAME TO former_positions;
CREATE TABLE projection_positions (
    journal TEXT PRIMARY KEY CHECK (journal IN ('corpus', 'trajectories', 'envelopes', 'consent', 'intake')),
    n INTEGER NOT NULL,
    day TEXT NOT NULL,
    next_offset INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO projection_positions SELECT journal, n, day, next_offset FROM former_positions;
DROP TABLE former_positions;
"""

# Titles and summaries: made of the lines of corpus/, by rules or a model, and made again where they are missing.
CORPUS_4 = """
CREATE TABLE summaries (
    trajectory_id TEXT PRIMARY KEY,
    -- Of the steps that they are of.
    sha256 TEXT NOT NULL,
    rules TEXT NOT NULL,
    title TEXT NOT NULL,
    summary TEXT NOT NULL,
    made_at TEXT NOT NULL
) WITHOUT ROWID;
"""

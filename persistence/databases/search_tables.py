"""The tables of search.db: a migration a version (`migrations`).

All of it follows from the lines of corpus/. A version that reads a line in another way, or takes words apart in another
one, adds a migration that empties all tables: then everything is taken in anew.
"""

# `sessions` has a row for each record that is searched, by the number of its line; `steps` one for each of its steps,
# whose number is that of the line times 2^24, and the step's place. It holds words and where they stand, no texts.
SEARCH_1 = """
CREATE TABLE sessions (
    n INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE,
    record_id TEXT NOT NULL,
    contributor_id TEXT NOT NULL,
    provider TEXT NOT NULL COLLATE NOCASE,
    model TEXT NOT NULL COLLATE NOCASE,
    domain TEXT,
    tier TEXT NOT NULL,
    outcome TEXT,
    started_at TEXT,
    rows INTEGER NOT NULL,
    day TEXT NOT NULL,
    "offset" INTEGER NOT NULL,
    length INTEGER NOT NULL
);
CREATE INDEX sessions_by_contributor ON sessions (contributor_id);
CREATE INDEX sessions_by_provider ON sessions (provider);
CREATE INDEX sessions_by_model ON sessions (model);
CREATE INDEX sessions_by_domain ON sessions (domain);
CREATE INDEX sessions_by_tier ON sessions (tier);
CREATE INDEX sessions_by_outcome ON sessions (outcome);
CREATE INDEX sessions_by_start ON sessions (started_at);

CREATE TABLE tools (
    -- That steps of a session name it.
    tool TEXT NOT NULL COLLATE NOCASE,
    n INTEGER NOT NULL,
    PRIMARY KEY (tool, n)
) WITHOUT ROWID;
CREATE INDEX tools_by_n ON tools (n);

CREATE VIRTUAL TABLE steps USING fts5 (
    text, tool, arguments, content = '', tokenize = "unicode61 remove_diacritics 2"
);

CREATE TABLE embeddings (
    -- In the order in which they came: whoever holds them all asks for those behind the last one.
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    n INTEGER NOT NULL UNIQUE,
    -- A scale (32 bits, little-endian), and a signed byte for each dimension; empty where nothing in the session tells.
    vector BLOB NOT NULL
);

CREATE TABLE unmerged (
    -- One row where words that were taken out may still stand in `steps`.
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1)
);

CREATE TABLE projection_positions (
    journal TEXT PRIMARY KEY CHECK (journal = 'corpus'),
    n INTEGER NOT NULL,
    day TEXT NOT NULL,
    next_offset INTEGER NOT NULL
) WITHOUT ROWID;
"""

# Where each step stands in its line, in blocks (`persistence.format.step_places`), what sessions are sorted by, and
# what is counted of each record (`persistence.format.session_figures`). All is taken in anew: each session has them.
SEARCH_2 = """
ALTER TABLE sessions ADD COLUMN ended_at TEXT;
ALTER TABLE sessions ADD COLUMN step_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN quality INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN points REAL NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN lineage TEXT;
ALTER TABLE sessions ADD COLUMN parent_lineage TEXT;
ALTER TABLE sessions ADD COLUMN continues_session TEXT;
ALTER TABLE sessions ADD COLUMN log_start INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN log_end INTEGER NOT NULL DEFAULT 0;
CREATE INDEX sessions_by_beginning ON sessions (coalesce(started_at, ''));
CREATE INDEX sessions_by_step_count ON sessions (step_count);
CREATE INDEX sessions_by_tokens ON sessions (tokens);
CREATE INDEX sessions_by_points ON sessions (points);
CREATE INDEX sessions_by_quality ON sessions (quality);
CREATE INDEX sessions_by_failed ON sessions (failed);
CREATE INDEX sessions_by_lineage ON sessions (lineage) WHERE lineage IS NOT NULL;
CREATE INDEX sessions_by_parent_lineage ON sessions (parent_lineage) WHERE parent_lineage IS NOT NULL;
CREATE INDEX sessions_by_continues ON sessions (continues_session) WHERE continues_session IS NOT NULL;

CREATE TABLE step_blocks (
    n INTEGER NOT NULL,
    -- The place of its first step, from 1.
    first INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    turns INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    -- A JSON object: how many steps there are of each type.
    counts TEXT NOT NULL,
    -- A JSON array of the places of its steps, compressed (zlib).
    places BLOB NOT NULL,
    PRIMARY KEY (n, first)
);

CREATE TABLE tool_calls (
    tool TEXT NOT NULL,
    n INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    -- Calls whose duration is known, all of them together, and the place of the step that took longest; 0 without any.
    timed INTEGER NOT NULL,
    total_ms INTEGER NOT NULL,
    slowest_ms INTEGER NOT NULL,
    slowest_step INTEGER NOT NULL,
    PRIMARY KEY (tool, n)
) WITHOUT ROWID;
CREATE INDEX tool_calls_by_n ON tool_calls (n);

CREATE TABLE findings (
    -- What scrubbing found in a record, by placeholder.
    category TEXT NOT NULL,
    n INTEGER NOT NULL,
    found INTEGER NOT NULL,
    PRIMARY KEY (category, n)
) WITHOUT ROWID;
CREATE INDEX findings_by_n ON findings (n);

DELETE FROM sessions;
DELETE FROM tools;
DELETE FROM embeddings;
INSERT INTO steps (steps) VALUES ('delete-all');
DELETE FROM unmerged;
DELETE FROM projection_positions;
"""

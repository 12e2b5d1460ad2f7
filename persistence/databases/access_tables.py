"""The tables of access.db: a migration a version (`migrations`)."""

# Who may ask for what beside the contract's open endpoints.
ACCESS_1 = """
CREATE TABLE tokens (
    token_id TEXT PRIMARY KEY,
    -- Of the token's text, 64 hexadecimal digits; the token itself is nowhere.
    sha256 TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    -- Sorted, with a space between.
    scopes TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    revoked_at TEXT,
    last_used_at TEXT
) WITHOUT ROWID;
"""

# Browsers that have signed in, and links that one may sign in with, each once: its row goes with that. Who may open no
# sessions.
ACCESS_2 = """
CREATE TABLE sign_in_links (
    link_id TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE browser_sessions (
    session_id TEXT PRIMARY KEY,
    -- Of the cookie's value; the value itself is nowhere.
    sha256 TEXT NOT NULL UNIQUE,
    -- Id of the token or of the link that it was opened with, and the token's name.
    origin TEXT NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    revoked_at TEXT,
    last_used_at TEXT
) WITHOUT ROWID;
CREATE INDEX browser_sessions_by_origin ON browser_sessions (origin);
CREATE TABLE bans (
    ban_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('address', 'contributor', 'machine')),
    -- A network, the digest of a contributor's id, or a machine's fingerprint.
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    UNIQUE (kind, subject)
) WITHOUT ROWID;
"""

"""Where a server takes what the client sends (contract, "Critical Contract"), and how long one try may take."""

DEFAULT_URL = "http://127.0.0.1:8443"
OPEN_PATH = "/v1/sessions/open"
INGEST_PATH = "/v1/training/ingest"
BATCH_PATH = "/v1/training/ingest/batch"
CLOSE_PATH = "/v1/sessions/close"
HEALTH_PATH = "/health"
LEADERBOARD_PATH = "/v1/stats/leaderboard"
WELL_KNOWN_PATH = "/.well-known/central-command.json"
SESSION_TIMEOUT_S = 10.0
"""For opening and closing; published clients use the same (contract, "Critical Contract")."""
INGEST_TIMEOUT_S = 30.0
BATCH_ENVELOPES_MAX = 64
BATCH_BYTES_MAX = 4_000_000
"""Envelopes and bytes of one batch: a server takes 64 and 5 MB (docs/protocol.md)."""


def contributor_path(contributor_id: str) -> str:
    """Where a contributor asks to be erased; the id is a secret, and no log's."""
    return f"/v1/contributors/{contributor_id}"


def consent_path(contributor_id: str) -> str:
    """Where a contributor says what may be done with their data."""
    return f"{contributor_path(contributor_id)}/consent"


def erasure_path(request: str) -> str:
    """Where it is said how a request for erasure stands."""
    return f"/v1/erasures/{request}"

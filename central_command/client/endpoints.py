"""Where a server takes what the client sends (contract, "Critical Contract"), and how long one try may take."""

OPEN_PATH = "/v1/sessions/open"
INGEST_PATH = "/v1/training/ingest"
CLOSE_PATH = "/v1/sessions/close"
SESSION_TIMEOUT_S = 10.0
"""For opening and closing; published clients use the same (contract, "Critical Contract")."""
INGEST_TIMEOUT_S = 30.0

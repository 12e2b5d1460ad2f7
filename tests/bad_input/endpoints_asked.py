"""The endpoints beside the contract's, each as it is asked well, and what one bad request to them is."""

import json
from typing import NamedTuple

from tests.signing_client import CONTRIBUTOR

Headers = tuple[tuple[str, str], ...]

JOB = "{job_id}"
"""Stands for the id of the job that waits."""
ANY = r"."
ADMIN, READ, EXPORT, INTAKE = ("admin",), ("read",), ("export",), ("intake",)
OPEN: tuple[str, ...] = ()
EVERY_SCOPE = ("read", "intake", "export", "admin")
DIGITS_400 = "9" * 400


class Endpoint(NamedTuple):
    """An endpoint, and how it is asked well; an open one has no scopes, one without a body no `good` one."""

    room: str
    method: str
    path: str
    scopes: tuple[str, ...]
    good: bytes | None = None
    bytes_max: int = 0

    @property
    def changes(self) -> bool:
        """Whether it changes something."""
        return self.method not in {"GET", "HEAD"}


class Bad(NamedTuple):
    """One bad request, and what must come: one of `statuses`, and one sentence in which `sentence` is found."""

    endpoint: Endpoint
    kind: str
    what: str
    statuses: tuple[int, ...]
    sentence: str = ANY
    method: str = ""
    target: str = ""
    headers: Headers = ()
    body: bytes = b""
    way_in: str = "token"
    """With a right `token`, the `cookie` of a browser that may do everything, or `nothing`."""
    ends: bool = True

    @property
    def name(self) -> str:
        """What it is told by."""
        endpoint = self.endpoint
        return f"{endpoint.room}: {self.method or endpoint.method} {self.target or endpoint.path}: {self.what}"


def json_of(value: object) -> bytes:
    return json.dumps(value).encode()


TOKENS, SESSIONS, BANS = "/api/access/tokens", "/api/access/sessions", "/api/access/bans"
JOBS, QUEUES = "/api/admin/jobs", "/api/admin/jobs/queues"
REFUSED, OBSERVER, EXPORTS = "/api/admin/refused", "/api/observer", "/api/exports"
CONSENT = f"/v1/contributors/{CONTRIBUTOR}/consent"
RECORD = {"user_id": "u1", "session_id": "s1", "content": "x", "content_type": "prompt"}

ASK_TOKEN = Endpoint("access", "POST", TOKENS, ADMIN, json_of({"scopes": ["admin"]}), 4_096)
END_TOKEN = Endpoint("access", "DELETE", f"{TOKENS}/tok_0123456789abcdef", ADMIN)
END_SESSION = Endpoint("access", "DELETE", f"{SESSIONS}/ses_0123456789abcdef", ADMIN)
BAN = Endpoint("bans", "POST", BANS, ADMIN, json_of({"machine": "ab" * 32}), 4_096)
UNBAN = Endpoint("bans", "DELETE", f"{BANS}/ban_0123456789abcdef", ADMIN)
AUDIT = Endpoint("audit", "GET", "/api/admin/audit", ADMIN)
LIST_JOBS = Endpoint("jobs", "GET", JOBS, ADMIN)
ONE_JOB = Endpoint("jobs", "GET", f"{JOBS}/{JOB}", ADMIN)
LETTERS = Endpoint("refused", "GET", REFUSED, ADMIN)
LETTER = Endpoint("refused", "GET", f"{REFUSED}/env_nobody", ADMIN)
RETRY_LETTER = Endpoint("refused", "POST", f"{REFUSED}/env_nobody/retry", ADMIN)
EVENT = Endpoint("observer", "POST", f"{OBSERVER}/event", INTAKE, json_of({"success": True}), 65_536)
OPERATIONS = Endpoint("observer", "GET", f"{OBSERVER}/operations", READ)
SEARCH = Endpoint("search", "GET", "/api/search?q=torn", READ)
ASK_EXPORT = Endpoint("exports", "POST", EXPORTS, EXPORT, json_of({"formats": ["messages"]}), 262_144)
ONE_EXPORT = Endpoint("exports", "GET", f"{EXPORTS}/exp_0123456789abcdef", EXPORT)
END_EXPORT = Endpoint("exports", "DELETE", f"{EXPORTS}/exp_0123456789abcdef", EXPORT)
EXPORT_FILE = Endpoint("exports", "GET", f"{EXPORTS}/exp_0123456789abcdef/files/data.jsonl", EXPORT)
TRAJECTORIES = Endpoint("corpus", "GET", "/api/corpus/trajectories", EXPORT)
RECORDS = Endpoint("corpus", "GET", "/api/corpus/records", EXPORT)
SESSION = Endpoint("sessions", "GET", "/api/sessions/sess_theirs", ("read", "admin"))
HISTORY = Endpoint("sessions", "GET", "/api/sessions/sess_theirs/history", ("read", "admin"))
METRICS = Endpoint("metrics", "GET", "/metrics", ("read", "admin"))
SUBMIT = Endpoint("intake", "POST", "/v1/intake/records", INTAKE)
SAY_FOR_USER = Endpoint(
    "intake", "POST", "/v1/intake/consent", INTAKE, json_of({"user_id": "u1", "state": "given", "version": "1.0"})
)
ERASE_USER = Endpoint("intake", "DELETE", "/v1/intake/users/u%201", INTAKE)
SIGN_IN = Endpoint("sign-in", "POST", "/sign-in", OPEN)
SIGN_OUT = Endpoint("sign-in", "POST", "/sign-out", OPEN)
SAY = Endpoint("consent", "POST", CONSENT, OPEN, json_of({"state": "given", "version": "1.0"}))
SHOW = Endpoint("consent", "GET", CONSENT, OPEN)
RECEIPT = Endpoint("consent", "GET", f"{CONSENT}/receipt", OPEN)
ERASE = Endpoint("consent", "DELETE", f"/v1/contributors/{CONTRIBUTOR}", OPEN)
ERASURE = Endpoint("consent", "GET", "/v1/erasures/er_0123456789abcdef", OPEN)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("access", "GET", TOKENS, ADMIN),
    ASK_TOKEN,
    END_TOKEN,
    Endpoint("access", "GET", SESSIONS, ADMIN),
    END_SESSION,
    Endpoint("bans", "GET", BANS, ADMIN),
    BAN,
    UNBAN,
    AUDIT,
    LIST_JOBS,
    ONE_JOB,
    *(Endpoint("jobs", "POST", f"{JOBS}/{JOB}/{verb}", ADMIN) for verb in ("retry", "cancel", "promote")),
    Endpoint("jobs", "DELETE", f"{JOBS}/{JOB}", ADMIN),
    Endpoint("jobs", "GET", QUEUES, ADMIN),
    *(Endpoint("jobs", "POST", f"{QUEUES}/work/{verb}", ADMIN) for verb in ("pause", "resume")),
    LETTERS,
    LETTER,
    RETRY_LETTER,
    EVENT,
    *(Endpoint("observer", "GET", f"{OBSERVER}/{name}", READ) for name in ("stats", "health", "failures", "playbooks")),
    OPERATIONS,
    SEARCH,
    ASK_EXPORT,
    Endpoint("exports", "GET", EXPORTS, EXPORT),
    ONE_EXPORT,
    END_EXPORT,
    EXPORT_FILE,
    TRAJECTORIES,
    RECORDS,
    SESSION,
    HISTORY,
    METRICS,
    SUBMIT,
    SAY_FOR_USER,
    ERASE_USER,
    Endpoint("sign-in", "GET", "/sign-in", OPEN),
    Endpoint("sign-in", "GET", "/sign-in/link?code=x", OPEN),
    SIGN_IN,
    SIGN_OUT,
    SAY,
    SHOW,
    RECEIPT,
    ERASE,
    ERASURE,
    Endpoint("consent", "GET", "/.well-known/central-command.json", OPEN),
)

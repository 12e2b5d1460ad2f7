"""What stands in place of the names of what was erased. Pure.

They follow from the request and the session's own id, so that whoever erases again (after a crash, or an older backup)
gives the same names; back from them leads no way.
"""

import hashlib
import secrets
from typing import Final

SESSION_PREFIX: Final = "erased_"
REQUEST_PREFIX: Final = "er_"
NAME_DIGITS: Final = 16


def new_request() -> str:
    """Return the id of a new request; it is also the contributor that the request's credits stay with."""
    return f"{REQUEST_PREFIX}{secrets.token_hex(NAME_DIGITS // 2)}"


def session_digits(request: str, session_id: str) -> str:
    """Return 16 hexadecimal digits for a session that a request erases."""
    return hashlib.sha256(f"{request}:{session_id}".encode()).hexdigest()[:NAME_DIGITS]


def session_name(digits: str) -> str:
    """Return what an erased session is called in the index."""
    return f"{SESSION_PREFIX}{digits}"


def trajectory_name(digits: str) -> str:
    """Return what its trajectory is called."""
    return f"traj_{SESSION_PREFIX}{digits}"


def envelope_name(n: int) -> str:
    """Return what an erased line of envelopes/ is called."""
    return f"env_{SESSION_PREFIX}{n}"


def refused_name(n: int) -> str:
    """Return what an erased line of refused/ is called."""
    return f"env_{SESSION_PREFIX}refused_{n}"


def text_name(n: int) -> str:
    """Return what an erased line of intake/ is called."""
    return f"text_{SESSION_PREFIX}{n}"


def is_erased_session(session_id: str) -> bool:
    """Whether an id is one that was put in place of another."""
    return session_id.startswith(SESSION_PREFIX)

"""Which session an agent's session was begun by: said in each envelope's metadata, without the agent's own ids. Pure.

`metadata.lineage` is `{"id", "parent_id"}`: digests of the agent's own id of this session and of that of its parent,
where its file names one. Both sides are said, so it does not matter which of them is sent first, nor by which session
ids of the server; a server that does not know the member keeps it as it keeps all others. The contributor's id is in
the digest: it joins sessions of the same contributor, and tells nobody else anything.
"""

import hashlib
from typing import Final

DIGITS: Final = 32


def lineage_of(contributor_id: str, provider: str, *, session_key: str, parent_key: str) -> dict[str, str]:
    """What joins a session with its parent and its sub-agents; empty where its file names no session."""
    found = {"id": session_key, "parent_id": parent_key}
    return {name: _digest(contributor_id, provider, key) for name, key in found.items() if key}


def _digest(*parts: str) -> str:
    told = "\0".join(("central-command lineage", *parts))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]

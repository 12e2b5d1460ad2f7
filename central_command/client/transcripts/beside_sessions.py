"""What agents keep beside their sessions: settings, indices, caches, lists of tasks, credentials. None is a session.

A name alone never says that a file holds no session: people call theirs `history.jsonl`, too, and put them into a
folder `tasks`. It tells what a file is that holds none, so that this is no failure. Credentials alone are known by
their names before anything is read: they are not to be opened.
"""

from collections.abc import Sequence

_CREDENTIALS = frozenset(
    {
        *(".credentials.json", "auth.json", "oauth_creds.json", "google_accounts.json"),
        *("mcp-oauth-tokens.json", "mcp-oauth-tokens-v2.json", "a2a-oauth-tokens.json", "gemini-credentials.json"),
    }
)
_NAMES = frozenset(
    {
        *("sessions-index.json", "session_index.jsonl", "history.jsonl", "logs.json", "projects.json", "state.json"),
        *("settings.json", "settings.local.json", "remote-settings.json", "managed-settings.json", "mcp.json"),
        *("trustedFolders.json", "policy-limits.json", "keybindings.json", "version.json", "bridge-pointer.json"),
        *("internal_storage.json", "models_cache.json", "stats-cache.json", "mcp-needs-auth-cache.json"),
        *("installed_plugins.json", "known_marketplaces.json", ".claude.json", ".codex-global-state.json"),
        "context.jsonl",  # Kimi's, beside the log of the same session
    }
)
_SUFFIXES = (".meta.json", ".settings.json")
_OUTPUTS = frozenset({"tool-results", "file-history", "shell-snapshots"})
"""Folders of what tools gave, and of files that the agent changed."""
_LISTS = frozenset({"todos", "tasks", "teams", "plugins", "statsig", "ide"})
"""Folders of an agent's own lists and caches, which are JSON texts; a session is lines in most cases."""
_HOMES = frozenset(
    {".claude", ".codex", ".gemini", ".qwen", ".copilot", ".factory", ".kimi", ".kimi-code", ".iflow", ".cline"}
)
_SESSIONS = frozenset({"projects", "sessions", "archived_sessions", "chats", "checkpoints", "session-state"})
"""Folders of an agent's home in which a JSON text may be a session."""
_TEXT = ".json"


def is_credentials(name: str) -> bool:
    """Whether a file is called as agents call what holds their keys and tokens."""
    return name in _CREDENTIALS


def is_beside_sessions(parts: Sequence[str]) -> bool:
    """Whether a file that is no session, of this path (its parts), is one that agents keep beside theirs."""
    *folders, name = parts
    if is_credentials(name) or name in _NAMES or name.endswith(_SUFFIXES) or not _OUTPUTS.isdisjoint(folders):
        return True
    if not name.endswith(_TEXT):
        return False
    is_of_process = folders[-1:] == ["sessions"] and name.removesuffix(_TEXT).isdecimal()
    return is_of_process or not _LISTS.isdisjoint(folders) or _is_at_home(folders)


def _is_at_home(folders: Sequence[str]) -> bool:
    """Whether a folder is in an agent's home, and none of those that sessions are in."""
    homes = [place for place, folder in enumerate(folders) if folder in _HOMES]
    return bool(homes) and _SESSIONS.isdisjoint(folders[homes[-1] :])

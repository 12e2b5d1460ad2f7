"""Who did the work that a program records."""

import msgspec

from actors.envelopes.schema import COMPLEXITIES
from actors.envelopes.settings import SchemaSettings
from central_command.client.contract.steps import JsonObject

_LIMITS = SchemaSettings()
_PROVIDER_CHARS_MAX = 100
"""A server's `schema.providers` may name any; a name of more is a mistake."""


def check(name: str, value: object, is_right: bool, allowed: str) -> None:  # noqa: FBT001
    """Raise ValueError, with one sentence, unless an argument is as it must be."""
    if not is_right:
        raise ValueError(f"{name} is {value!r:.60}; it must be {allowed}.")


def _is_name(text: object, chars_max: int) -> bool:
    return isinstance(text, str) and 1 <= len(text) <= chars_max and text.isprintable()


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """Who did the work, as the contract's `metadata` says it; raises ValueError for what no server takes.

    Which providers a server takes is its own setting: its answer to the opening says whether this is one.
    """

    provider: str
    model: str
    agent_role: str = "agent"
    agent_id: str = "agent-1"
    task_complexity: str = "medium"
    team_size: int = 1

    def __post_init__(self) -> None:
        texts = {
            "provider": (self.provider, _PROVIDER_CHARS_MAX),
            "model": (self.model, _LIMITS.model_engine_chars_max),
            "agent_role": (self.agent_role, _LIMITS.agent_role_chars_max),
            "agent_id": (self.agent_id, _LIMITS.agent_id_chars_max),
        }
        for name, (text, chars_max) in texts.items():
            check(name, text, _is_name(text, chars_max), f"1 to {chars_max} printable characters")
        complexity, team_size = self.task_complexity, self.team_size
        check("task_complexity", complexity, complexity in COMPLEXITIES, f"one of {', '.join(COMPLEXITIES)}")
        is_size = type(team_size) is int and 1 <= team_size <= _LIMITS.team_size_max
        check("team_size", team_size, is_size, f"a whole number from 1 to {_LIMITS.team_size_max}")

    def metadata(self, client_version: str) -> JsonObject:
        """As published clients send it; what a program did not say is null or the neutral value."""
        return {
            "model_engine": self.model,
            "provider": self.provider,
            "agent_role": self.agent_role,
            "agent_id": self.agent_id,
            "task_complexity": self.task_complexity,
            "team_size": self.team_size,
            "session_quality": None,
            "groove_version": client_version,
            "leaf_context": None,
        }

"""Under which names an agent's files tell how many tokens a message of its model took and gave."""

from collections.abc import Iterable

import msgspec

from central_command.client.contract.steps import JsonObject
from central_command.client.contract.usage import ReportedUsage
from central_command.client.transcripts.json_values import count_of, object_of


class UsageNames(msgspec.Struct, frozen=True, kw_only=True):
    """The members of one agent's figures. `taken` are added up: together all that the model read, its cache included.

    So are `given`. `cache_read` and `cache_write` are parts of what was taken; empty where the agent tells none.
    """

    taken: tuple[str, ...]
    given: tuple[str, ...]
    cache_read: str = ""
    cache_write: str = ""

    def read(self, figures: object) -> ReportedUsage:
        """What figures say, whatever stands there: what is no count is 0."""
        members = object_of(figures)
        return ReportedUsage(
            _sum(members, self.taken),
            _sum(members, self.given),
            _sum(members, (self.cache_read,)),
            _sum(members, (self.cache_write,)),
        )


OF_ANTHROPIC = UsageNames(
    taken=("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    given=("output_tokens",),
    cache_read="cache_read_input_tokens",
    cache_write="cache_creation_input_tokens",
)
"""As Anthropic's API tells it."""
OF_OPENAI = UsageNames(
    taken=("input_tokens",),
    given=("output_tokens",),
    cache_read="cached_input_tokens",
    cache_write="cache_write_input_tokens",
)
"""As Codex tells it."""


def _sum(members: JsonObject, names: Iterable[str]) -> int | None:
    total = None
    for name in names:
        if name in members:
            total = (total or 0) + count_of(members[name])
    return total

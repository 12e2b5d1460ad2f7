"""How many tokens a Codex session took: the program counts them up, so the largest figure is that of all so far."""

from central_command.client.transcripts.json_values import count_of, object_of
from central_command.client.transcripts.reader import Usage


class CountedUsage:
    """The usage of one session by the figures of its file, without those of copied lines where it goes on from them."""

    def __init__(self) -> None:
        self._usage = self._copied = Usage()
        self._goes_on: bool | None = None

    def take(self, figures: object) -> None:
        """Take `input_tokens` and `output_tokens` of all so far; the first that are given tell where they began."""
        self._usage = _larger(self._usage, figures)
        if self._goes_on is None and self._usage != Usage():
            self._goes_on = _larger(self._copied, figures) == self._usage

    def take_copied(self, figures: object) -> None:
        """Take figures that stand in copied lines."""
        self._copied = _larger(self._copied, figures)

    def own(self) -> Usage:
        """The tokens of the session itself."""
        before = self._copied if self._goes_on else Usage()
        return Usage(self._usage.input_tokens - before.input_tokens, self._usage.output_tokens - before.output_tokens)


def total_of(event: object) -> object:
    """The figures of a `token_count` event."""
    return object_of(object_of(event).get("info")).get("total_token_usage")


def _larger(usage: Usage, figures: object) -> Usage:
    members = object_of(figures)
    return Usage(
        max(usage.input_tokens, count_of(members.get("input_tokens"))),
        max(usage.output_tokens, count_of(members.get("output_tokens"))),
    )

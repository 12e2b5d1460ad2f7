"""Personal data and secrets are taken out of what is said of a session before it is signed (docs/privacy.md).

What a step is recognised by when it is sent again is taken before, from what the agent wrote (`uploading.recognition`):
so neither later rules nor `--no-scrub` make an upload begin anew.
"""

from collections import Counter
from typing import TYPE_CHECKING, cast

import msgspec

from actors.curation.scrubbing.rules_version import SCRUB_RULES_VERSION
from central_command.client.contract.steps import CONTENT_CHARS_MAX, JsonObject, LeftOut, Step, cut, fit_arguments

if TYPE_CHECKING:
    from actors.curation.scrubbing.json_values import JSONValue

WITHHELD = "withheld"
"""The category of a text that could not be scrubbed, and stays here: `[WITHHELD]` stands in its place."""
_NAMES = frozenset({"type", "tool", "call_id", "source", "intent"})
"""Members of a step that join it with others, or say what it is."""


class StepScrubber:
    """Scrubs one step after the other, by the profile for trajectories; not to be used in two threads at once.

    Nothing raises: a text that cannot be scrubbed is withheld, and counted as such.
    """

    def __init__(self) -> None:
        from actors.curation.scrubbing.scrubber import PIIScrubber  # noqa: PLC0415 -- only who scrubs loads the rules

        self._scrubber = PIIScrubber.for_trajectories()

    def step(self, step: Step) -> Step:
        """The step with its texts and arguments scrubbed and within their bounds; its ids, names and counts stay.

        `token_count` stays as well: it says what the agent wrote, and credit does not depend on what was found.
        """
        if step.left_out is not None:
            step = self._parted(step, step.left_out)
        content, arguments = self.text(step.content), step.arguments
        scrubbed_arguments = None if arguments is None else self.members(arguments, names=frozenset())
        if content == step.content and scrubbed_arguments == arguments:
            return step
        fitted, is_cut = cut(content, CONTENT_CHARS_MAX), False
        if scrubbed_arguments is not None:
            arguments_fitted = fit_arguments(scrubbed_arguments)
            scrubbed_arguments, is_cut = arguments_fitted.members, arguments_fitted.is_cut
        scrubbed = msgspec.structs.replace(step, content=fitted, arguments=scrubbed_arguments)
        if is_cut or len(fitted) < len(content):  # placeholders may be longer than what they stand for
            original_tokens = step.original_token_count or step.token_count
            return msgspec.structs.replace(scrubbed, truncated=True, original_token_count=original_tokens)
        return scrubbed

    def _parted(self, step: Step, left_out: LeftOut) -> Step:
        """The step with what was cut scrubbed on both sides of the cut, as it stood in the whole: no half is left."""
        if step.type == "action":
            text = cast("str", (step.arguments or {})["json"])
            arguments: JsonObject = {"json": self._beside(text, left_out)}
            return msgspec.structs.replace(step, arguments=arguments, left_out=None)
        return msgspec.structs.replace(step, content=self._beside(step.content, left_out), left_out=None)

    def _beside(self, text: str, left_out: LeftOut) -> str:
        head, tail_at = text[: left_out.head_chars], len(text) - left_out.tail_chars
        before = left_out.before_tail
        tail_end = len(before) + left_out.tail_chars
        return "".join(
            [
                self._scrubber.scrub_part(head + left_out.behind_head, 0, len(head)),
                text[len(head) : tail_at],
                self._scrubber.scrub_part(before + text[tail_at:], len(before), tail_end),
            ]
        )

    def text(self, text: str) -> str:
        """A text, scrubbed; one that is JSON stays JSON."""
        return cast("str", self._scrubber.scrub_value(text))

    def members(self, members: JsonObject, *, names: frozenset[str] = _NAMES) -> JsonObject:
        """An object whose members are scrubbed, whatever they hold, but those in `names`."""
        kept = {name: value for name, value in members.items() if name in names}
        others = {name: value for name, value in members.items() if name not in names}
        scrubbed = cast("JsonObject", self._scrubber.scrub_value(cast("dict[str, JSONValue]", others)))
        return {name: kept.get(name, scrubbed.get(name)) for name in members} if kept else scrubbed

    def take_findings(self) -> "Counter[str]":
        """What was found since this was asked last, by category (`email`, `api_key`, …); empties the count."""
        found: Counter[str] = Counter()
        if self._scrubber.counts:  # of most steps it is empty
            found.update({name.strip("[]").lower(): count for name, count in self._scrubber.counts.items()})
            self._scrubber.counts.clear()
        return found


def metadata_of_scrubbing(*, is_scrubbed: bool) -> JsonObject:
    """What `metadata` says of it: `scrubbed`, and the version of the rules, `scrub_rules`."""
    return {"scrubbed": True, "scrub_rules": SCRUB_RULES_VERSION} if is_scrubbed else {"scrubbed": False}

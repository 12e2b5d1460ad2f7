"""Messages of a Codex rollout: each is one step, however often and in whatever form the file tells it.

The program writes messages and reasoning twice or three times, as response items and as events, in either order, and
which of them depends on its version: the first is the step, and each of the others is matched with it by its text.

An event has less text than the item: the citations of memory (`<oai-mem-citation>`) are taken out of it, and in plan
mode the plan (`<proposed_plan>`), which becomes an event of its own. So what the model said is matched part by part,
and what an event tells waits for the next lines, where the item that holds all of it stands.
"""

import re
from collections import Counter, defaultdict

from central_command.client.contract.steps import JsonObject, StepList, StepType
from central_command.client.transcripts.json_values import visible_text

ITEM = "item"
"""The teller whose text is the whole one; all others are events."""
_CITATION = re.compile(r"<oai-mem-citation>.*?(?:</oai-mem-citation>|\Z)", re.DOTALL)
_PLAN = re.compile(r"<proposed_plan>(.*?)(?:</proposed_plan>|\Z)", re.DOTALL)
_Key = tuple[str, str]


class _Waiting:
    """A thought that an event told, before its item has come."""

    def __init__(self, at: float, text: str, keys: set[_Key]) -> None:
        self.at = at
        self.text = text
        self.keys = keys


class Messages:
    """The messages of one session while it is read."""

    def __init__(self, steps: StepList) -> None:
        self._steps = steps
        self._told: defaultdict[str, Counter[_Key]] = defaultdict(Counter)
        self._taken: Counter[_Key] = Counter()
        self._waiting: list[_Waiting] = []

    @property
    def waiting(self) -> int:
        """How many thoughts wait."""
        return len(self._waiting)

    def tell(self, teller: str, kind: StepType, text: str, *images: str, source: str | None = None) -> None:
        """Add a step unless another of the file's ways to tell the same has told it; images are not matched by."""
        whole = "\n".join(part for part in (text, *images) if visible_text(part))
        if whole and self.is_first(teller, kind, text):
            self.release()
            self._steps.add(kind, self._steps.at, whole, source=source)

    def tell_between_agents(self, teller: str, kind: StepType, text: str, partner: JsonObject) -> None:
        """Add a message between agents, unless it was told before; `partner` names the other one."""
        if self.is_first(teller, "agent", text):
            self.release()
            self._steps.add(kind, self._steps.at, text, source="agent", arguments=partner or None)

    def tell_answer(self, teller: str, text: str) -> None:
        """Add what the model said, a thought; an event's waits until `release`, for its item may hold more."""
        cited, citations = _CITATION.subn("", text)
        cited = cited.rstrip() if citations else cited
        said, plans = _PLAN.sub("", cited), _PLAN.findall(cited)
        parts = [part for part in (said, *plans) if visible_text(part)]
        keys = [_key("thought", part) for part in parts]
        fresh = {key: part for key, part in zip(keys, parts, strict=True) if self._is_new(teller, key)}
        held = self._held_for(keys) if teller == ITEM else []
        if held:
            held[0].text = cited if plans else held[0].text
            self._waiting = [each for each in self._waiting if each is held[0] or each not in held]
        elif len(fresh) == len(parts) > 0:
            self._waiting.append(_Waiting(self._steps.at, cited, set(keys)))
        else:
            self._waiting.extend(_Waiting(self._steps.at, part, {key}) for key, part in fresh.items())
        if teller == ITEM:
            self.release()

    def _held_for(self, keys: list[_Key]) -> list[_Waiting]:
        """The first thought that waits for each of the parts of an item."""
        found: list[_Waiting] = []
        for key in keys:
            if not any(key in each.keys for each in found):
                found += [each for each in self._waiting if key in each.keys][:1]
        return found

    def release(self) -> None:
        """Add the thoughts that wait."""
        for each in self._waiting:
            self._steps.add("thought", each.at or self._steps.at, each.text)
        self._waiting.clear()

    def is_first(self, teller: str, kind: str, text: str) -> bool:
        """Whether no other teller has told this text as often as this one has by now."""
        return self._is_new(teller, _key(kind, text))

    def _is_new(self, teller: str, key: _Key) -> bool:
        self._told[teller][key] += 1
        is_new = self._told[teller][key] > self._taken[key]
        self._taken[key] += is_new
        return is_new


def _key(kind: str, text: str) -> _Key:
    return kind, "".join(text.split())

"""How far on in a Claude Code file it may still be told what an event means.

A result may be written before its call, the output of a command behind it, the event of queued text behind the
operation that took it out. All of them are near by, and all are written before the agent goes on: what belongs to a
message of the model stands before the next one's first event. So nothing is looked for from the second message on that
begins behind an event, however few events that is, nor further than a window of so many events.

Messages are told by their ids, because one is written as several events, with results between them. Without ids only
the window counts.
"""

from collections import deque

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.json_values import object_of, text_of

_MESSAGES_MAX = 2
_KNOWN_MAX = 1_024
"""Ids of the last messages that are remembered: events of one stand much nearer to each other."""


class Horizon:
    """Where the messages of the model begin, around the event that is read; `window` is a number of events."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._known: dict[str, None] = {}
        self._begins: deque[int] = deque()
        self._last_place = -1

    def note(self, place: int, event: JsonObject) -> None:
        """Take note of the event at `place`, the last one that is known."""
        self._last_place = place
        message_id = text_of(object_of(event.get("message")).get("id")) if event.get("type") == "assistant" else ""
        if message_id and message_id not in self._known:
            self._known[message_id] = None
            self._begins.append(place)
            if len(self._known) > _KNOWN_MAX:
                del self._known[next(iter(self._known))]

    def of(self, place: int) -> int:
        """The last place of which the event at `place` may depend; `place` never goes back."""
        while self._begins and self._begins[0] <= place:
            self._begins.popleft()
        window_end = place + self._window
        return window_end if len(self._begins) < _MESSAGES_MAX else min(window_end, self._begins[_MESSAGES_MAX - 1] - 1)

    def is_beyond(self, place: int) -> bool:
        """Whether what the event at `place` may depend on is not all known yet."""
        return self.of(place) > self._last_place

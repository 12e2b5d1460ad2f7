"""What the user, or another, queued while Claude Code worked, as its `queue-operation` events tell it.

| operation | what became of the text |
|---|---|
| `enqueue` | it waits |
| `remove`, with no `reason` or `absorbed_mid_turn` | the agent received it while it worked; what `remove` names, when it does, else what waited longest |
| `remove` with another `reason` | it was taken back, or went to another agent |
| `dequeue` | it began a turn, and has an event of its own |
| `popAll` | it went back to the user's editor; what is named, or all |

Text that the agent received while it worked mostly has an event of its own, too (`attachment`, `queued_command`), but
not in all versions. One event accounts for one text. A slash command that waits is the program's, which carries it out
itself, and the end of a background task has an event of its own: of these, only what `remove` names is for the agent.
"""  # noqa: E501 -- a table

import re
from collections import deque

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.claude_code_texts import NOTIFICATION_TAGS, command_of
from central_command.client.transcripts.json_values import text_of, visible_text

_ABSORBED = frozenset({"", "absorbed_mid_turn"})
_BY_PROGRAM = re.compile(rf"/[A-Za-z][\w:.-]*(?=\s|\Z)|{'|'.join(NOTIFICATION_TAGS)}")
TAKEN_BACK = "queued texts that the agent never received"


class Queue:
    """What waits; `window` says how many events away an event of a text's own may stand."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._waiting: deque[str] = deque()
        self._own_events: deque[tuple[int, str]] = deque()
        self.taken_back = 0
        """How many texts left the queue, or will, without reaching the agent."""

    def note_event(self, place: int, text: str) -> None:
        """An event at `place`, as far ahead as is looked, holds this text: it may be that of queued text."""
        self._forget_before(place - 2 * self._window)
        self._own_events.append((place, command_of(text)))

    def absorb(self, event: JsonObject, place: int, until: int) -> tuple[str, bool]:
        """Apply an operation at `place`; the event of a text's own stands at `until` or before.

        Returns the text that the agent received by it and that has no event of its own as far as is known, else
        nothing; and whether events that are not known yet may change that, or what follows from it.
        """
        named = visible_text(event.get("content"))
        match event.get("operation"):
            case "enqueue" if named and not _BY_PROGRAM.match(named):
                self._waiting.append(named)
            case "dequeue":
                return "", not self._begin_turn(place, until)
            case "popAll":
                self.taken_back += self._take_back(named)
            case "remove":
                text = self._leave(named)
                if text_of(event.get("reason")) not in _ABSORBED:
                    self.taken_back += bool(text)
                elif text and not self._account_for(text, place, until):
                    return text, True
        return "", False

    def still_waiting(self) -> int:
        """How many texts no operation has taken out."""
        return len(self._waiting)

    def _leave(self, named: str) -> str:
        """Take out what `remove` names, or what waited longest."""
        if not named:
            return self._waiting.popleft() if self._waiting else ""
        if named in self._waiting:
            self._waiting.remove(named)
        return named

    def _begin_turn(self, place: int, until: int) -> bool:
        """Take out the first text that has an event of its own; whether it is certain that this is the one."""
        for count, text in enumerate(self._waiting):
            if self._account_for(text, place, until):
                self._waiting.remove(text)
                return count == 0
        return not self._waiting

    def _take_back(self, named: str) -> int:
        if named in self._waiting:
            self._waiting.remove(named)
            return 1
        count = len(self._waiting)
        self._waiting.clear()
        return count

    def _account_for(self, text: str, place: int, until: int) -> bool:
        """Whether an event near by is that of a text; it is that of no other then."""
        self._forget_before(place - self._window)
        for event in self._own_events:
            if event[0] <= until and event[1] == text:
                self._own_events.remove(event)
                return True
        return False

    def _forget_before(self, place: int) -> None:
        while self._own_events and self._own_events[0][0] < place:
            self._own_events.popleft()

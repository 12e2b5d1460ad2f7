"""What can come of going on with a session."""

import msgspec

from central_command.reaching.unreachable import Undelivered


class Sent(msgspec.Struct, frozen=True):
    """One request was answered for good: ask again at once. `steps` were accepted, `refusal` says what was not.

    `session_id` is another one than was asked about when what waits was moved to a new session.
    """

    session_id: str
    steps: int = 0
    refusal: str | None = None


class Nothing(msgspec.Struct, frozen=True):
    """Nothing waits, and more may yet be put to the session."""


class Done(msgspec.Struct, frozen=True):
    """The session is closed, or given up (`problem`)."""

    problem: str | None = None


class Later(msgspec.Struct, frozen=True):
    """The same again later: why, and after how many seconds at least if the server said.

    `opening` says that only openings need wait, because the server limits them by machine; `own` that it may be about
    this session alone; `unreached` that it was no Central Command that answered, if anything did. `status` is that of
    the answer, None where there was none; `asks_for_time` that the server is well and only wants to be asked later.
    """

    reason: str
    retry_after_s: float | None = None
    opening: bool = False
    own: bool = False
    unreached: Undelivered | None = None
    status: int | None = None
    asks_for_time: bool = False


class Held(msgspec.Struct, frozen=True):
    """Nothing was asked: openings wait until then (`trio.current_time`)."""

    until: float


class Resting(msgspec.Struct, frozen=True):
    """Nothing that a retry soon could mend: the session stays in the spool as it is.

    `what` failed for `reason`. `unreachable` says that others will hardly fare better with this server, and `status`
    what it answered last, None where no answer came. `advice` is what to do about it where a command was typed: part of
    a sentence that speaks of its options, so a program that records does not repeat it.
    """

    what: str
    reason: str
    unreachable: bool = False
    status: int | None = None
    advice: str = ""


class Several(msgspec.Struct, frozen=True):
    """What came of the envelopes of one batch, in order, up to the first that is to be sent again."""

    each: tuple[Sent | Later | Resting, ...]


One = Sent | Nothing | Done | Later | Held | Resting
Progress = One | Several

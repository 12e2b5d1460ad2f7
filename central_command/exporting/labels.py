"""Whether a session was good, and what in it was preferred to what: by what was said, never by a guess. Pure.

*A label* is that of the last feedback that settles it (`accepted`, `rejected`); of `modified` and `iterated` nobody can
tell, so then there is none. Without feedback the client's report counts: `SUCCESS` and `CRASH`; a session that was
stopped (`KILLED`, `SHUTDOWN`) says nothing. Feedback is about what there was when it was given (`target_step`): steps
behind it have no part in the row. What curation derived is no label, nor is the score, nor the quality.

*A response* is all that the agent did for one request: from behind the last request up to the next. A response that a
correction follows is rejected for the next response, unless that was corrected, too, or the session was rejected at
last. Corrections are what a step of type `correction` says that is not the agent's own.
"""

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.chat import Message

_OF_FEEDBACK = {"accepted": True, "rejected": False}
_OF_OUTCOME = {"SUCCESS": True, "CRASH": False}


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it was good, and what says so: `feedback` or `outcome`. It is about the first `steps` steps."""

    is_good: bool
    source: str
    steps: int


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """Messages by their places: the prompt goes up to `start`, the response from there up to `end`."""

    start: int
    end: int


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """A response that was corrected, and the one that came of it. `step` is the number of the correction's step."""

    rejected: Response
    chosen: Response
    step: int
    correction: str


def label_of(trajectory: Trajectory) -> Label | None:
    """The label of a trajectory; None where nobody said, and for a part that is not the last one."""
    if trajectory.part < trajectory.parts:
        return None
    steps = len(trajectory.steps)
    if trajectory.feedback:
        last = trajectory.feedback[-1]
        if last.signal not in _OF_FEEDBACK:
            return None
        about = last.target_step if last.target_step and 0 < last.target_step < steps else steps
        return Label(is_good=_OF_FEEDBACK[last.signal], source="feedback", steps=about)
    status = "" if trajectory.outcome is None else trajectory.outcome.status
    return Label(is_good=_OF_OUTCOME[status], source="outcome", steps=steps) if status in _OF_OUTCOME else None


def last_response(messages: Sequence[Message]) -> Response | None:
    """The last response; None where there is none. It begins and ends with a message of the assistant."""
    return next(reversed(_responses(messages)), None)


def preferences(trajectory: Trajectory, messages: Sequence[Message]) -> list[Preference]:
    """What was preferred to what, in order."""
    label = label_of(trajectory)
    if label is not None and label.source == "feedback" and not label.is_good:
        return []
    corrections = {
        place: message
        for place, message in enumerate(messages)
        if any(origin.type == "correction" for origin in message.origins) and message.role == "user"
    }
    responses = _responses(messages)
    found = []
    for rejected, chosen in pairwise(responses):
        place = next((at for at in range(rejected.end, chosen.start) if at in corrections), None)
        is_last_word = not any(at in corrections for at in range(chosen.end, _next_start(responses, chosen, messages)))
        if place is None or not is_last_word:
            continue
        message = corrections[place]
        step = next(origin.step for origin in message.origins if origin.type == "correction")
        found.append(Preference(rejected=rejected, chosen=chosen, step=step, correction=message.content))
    return found


def _next_start(responses: Sequence[Response], response: Response, messages: Sequence[Message]) -> int:
    """Where the response behind one begins; the end of all where there is none."""
    return next((each.start for each in responses if each.start > response.start), len(messages))


def _responses(messages: Sequence[Message]) -> list[Response]:
    """The responses, in order: what stands between two requests, without what no message of the assistant follows."""
    requests = [place for place, message in enumerate(messages) if message.is_request]
    found = []
    for place, following in pairwise([*requests, len(messages)]):
        own = [at for at in range(place + 1, following) if messages[at].role == "assistant"]
        if own:
            found.append(Response(start=own[0], end=own[-1] + 1))
    return found

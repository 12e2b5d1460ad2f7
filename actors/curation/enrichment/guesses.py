"""What nobody said, and the transcript lets one guess: how it ended, and what the user thought of it."""

import re
from collections.abc import Sequence
from typing import Final

from actors.curation.enrichment.calls import Call, words_of
from actors.curation.enrichment.verdicts import Derived, Feedback, Outcome, Reason
from actors.curation.stitched import StitchedStep, text_of

LAST_WORDS_CHARS_MAX: Final = 400
"""A longer text is another task, whatever words it has."""
FOLLOW_UPS_MIN: Final = 2
"""Instructions after the first one from which on a session counts as iterated."""
INTERRUPTION_STEPS: Final = 2
"""Steps from the end in which an interruption is that of the session."""

_THANKS = re.compile(
    r"\b(?:thanks?|thank you|thx|perfect|great|awesome|excellent|nice|well done|works now|it works|looks good|lgtm"
    r"|danke|super|merci|parfait|gracias|perfecto|obrigado|grazie)\b"
)
_COMPLAINT = re.compile(
    r"\b(?:still (?:fails?|failing|broken|wrong|not|the same)"
    r"|(?:does|do|is|did|was)(?:n't| not) (?:work|right|correct|what)"
    r"|not what i|wrong|broken|revert|undo|useless|terrible|that's bad|you (?:broke|missed|forgot|ignored)|why did you"
    r"|falsch|geht nicht|funktioniert nicht|ne marche pas|no funciona)\b"
)


def derive(steps: Sequence[StitchedStep], calls: Sequence[Call]) -> Derived:
    """The outcome and the feedback that a transcript suggests, each None where it suggests none."""
    reasons: list[Reason] = []
    outcome = _outcome(steps, calls, reasons)
    return Derived(outcome=outcome, feedback=_feedback(steps, reasons), reasons=tuple(reasons))


def _outcome(steps: Sequence[StitchedStep], calls: Sequence[Call], reasons: list[Reason]) -> Outcome | None:
    if any(text_of(step.intent) == "interruption" for step in steps[-INTERRUPTION_STEPS:]):
        reasons.append(Reason("interrupted_at_end", 1))
        return "interrupted"
    last_edit = max((place for place, call in enumerate(calls) if call.edits), default=-1)
    ends = [call.check_passed for call in calls[last_edit + 1 :] if call.is_check and call.check_passed is not None]
    if not ends:
        return None
    reasons.append(Reason("last_check_passed" if ends[-1] else "last_check_failed", len(ends)))
    return "succeeded" if ends[-1] else "failed"


def _feedback(steps: Sequence[StitchedStep], reasons: list[Reason]) -> Feedback | None:
    said = [words for step in steps if text_of(step.intent) != "interruption" and (words := words_of(step))]
    if len(said) < 2:
        return None
    last = said[-1].lower().replace("\u2019", "'")
    if len(last) <= LAST_WORDS_CHARS_MAX:
        if _COMPLAINT.search(last):
            reasons.append(Reason("last_words_complain", 1))
            return "rejected"
        if _THANKS.search(last):
            reasons.append(Reason("last_words_thank", 1))
            return "accepted"
    if len(said) > FOLLOW_UPS_MIN:
        reasons.append(Reason("follow_up_instructions", len(said) - 1))
        return "iterated"
    return None

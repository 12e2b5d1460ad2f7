"""What a program says of how its session ended, as far as a server takes it: what is wrong is left out, and why.

Pure. A reason names the member, never what it holds.
"""

import json
from collections.abc import Mapping

import msgspec

from actors.envelopes.schema import OUTCOME_STATUSES, outcome_rule
from central_command.client.contract.chunking import encode_json
from central_command.client.contract.steps import JsonObject, fit_arguments
from persistence.format import json_text

STATUS_OF_NOTHING_SAID = "SHUTDOWN"
"""It claims nothing about how the work went."""
_OUTCOME_BYTES_MAX = 1_000_000
_RULES = outcome_rule().members
_DECODERS = {name: msgspec.json.Decoder(rule.type) for name, rule in _RULES.items()}


def said_status(status: object) -> str | None:
    """The contract's status, also where it is written in small letters; None for what is none."""
    meant = status.upper() if isinstance(status, str) else status
    return next((each for each in OUTCOME_STATUSES if each == meant), None)


def said_outcome(outcome: object) -> tuple[JsonObject, list[str]]:
    """The members of an outcome that can be sent, and for each that cannot why."""
    if outcome is None:
        return {}, []
    if not isinstance(outcome, Mapping):
        return {}, ["the outcome is no mapping"]
    taken: JsonObject = {}
    wrong: list[str] = []
    size = 0
    for name, value in outcome.items():
        text = _written(name, value)
        if text is None:
            wrong.append(f"{_named(name)} of the outcome cannot be written as JSON")
        elif size + len(text) > _OUTCOME_BYTES_MAX or (isinstance(value, dict | list) and fit_arguments(value).is_cut):
            wrong.append(f"{_named(name)} of the outcome is too large or nested too deeply")
        elif name in _DECODERS and not _is_taken(name, text):
            wrong.append(f"{name} of the outcome must be {_RULES[name].allowed}")
        else:
            taken[name] = json.loads(text)
            size += len(text)
    return taken, wrong


def _written(name: object, value: object) -> bytes | None:
    try:
        return encode_json(value) if isinstance(name, str) and encode_json(name) else None
    except (ValueError, TypeError, RecursionError):
        return None


def _is_taken(name: str, text: bytes) -> bool:
    try:
        json_text.decode(_DECODERS[name], text)
    except msgspec.DecodeError:
        return False
    return True


def _named(name: object) -> str:
    return name if isinstance(name, str) and name in _RULES else "a member"

"""Whether a value was drawn by a machine: what tells a secret from a name, a reference or a word."""

import re

_PIECES = re.compile(r"[A-Za-z0-9]+")
_RUNS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_REFERENCE = re.compile(
    r"[$%<{*]|(?:process\.env|import\.meta|os\.(?:environ|getenv)|env\.|ENV\[|secrets\.|config[.\[]|settings\.|self\.|"
    r"this\.|vault:|ref\+|op://|arn:|file:|/[a-z]+/|\./|~/|@)"
)
_SAMPLE = re.compile(r"(?i)your|example|changeme|placeholder|redacted|dummy|xxxx|\.\.\.|insert|todo")
PIECE_CHARS_MIN = 8
VALUE_CHARS_LOOKED_AT = 512


def is_reference(value: str) -> bool:
    """Whether a value names where the secret is instead of being it: a variable, a path, a template."""
    return _REFERENCE.match(value) is not None or _SAMPLE.search(value[:VALUE_CHARS_LOOKED_AT]) is not None


def looks_random(value: str) -> bool:
    """Whether some part of a value changes between letters, cases and digits as no word, name or number does."""
    return any(_random_piece(each) for each in _PIECES.findall(value[:VALUE_CHARS_LOOKED_AT]))


def looks_like_password(value: str) -> bool:
    """Whether a value of 8 characters and more is random, or mixes letters and digits with other characters."""
    if len(value) < PIECE_CHARS_MIN:
        return False
    return looks_random(value) or _mixed(value[:VALUE_CHARS_LOOKED_AT])


def _random_piece(piece: str) -> bool:
    if len(piece) < PIECE_CHARS_MIN or piece.isdigit():
        return False
    runs = _RUNS.findall(piece)
    digits = sum(each.isdigit() for each in runs)
    if digits == 0:  # letters only: many changes of case, where words in camel case have few
        return not (piece.islower() or piece.isupper()) and len(piece) >= 12 and len(piece) / len(runs) < 2.6
    if digits == 1 and len(runs[-1]) >= 6 and piece[-1].isdigit() and len(piece) >= 12:
        return True  # more digits than a year or a version has
    if digits == 1 and piece[-1].isdigit() and len(runs) <= 3:  # a word or two with a number behind
        return len(runs) == 3 and len(piece) / len(runs) < 3.5 and len(piece) >= 10
    return len(piece) / len(runs) < 4.5


def _mixed(value: str) -> bool:
    """A password that somebody made: three kinds of characters, one of them neither letter nor digit."""
    if re.fullmatch(r"[\w.\-/:]*", value):
        return False
    letters = any(each.isalpha() for each in value)
    return letters and any(each.isdigit() for each in value) and not any(each in "()[]{}=<>" for each in value)

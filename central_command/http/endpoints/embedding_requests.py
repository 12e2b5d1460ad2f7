"""What may be asked for in a request for embeddings, and what is wrong with one, in one sentence. Pure.

A text may come as tokens on OpenAI's path, because its clients (LangChain among them) can send that. They are those of
this model's own vocabulary: whose else they are, nothing in them says. But the tokens that others' vocabularies use
most, this model's tokeniser gives to no text, so that nearly every such list shows by one of them, and is refused
instead of being embedded as something else (`unknown_token`).
"""

from typing import Any

import msgspec

from actors.embedding.embedding import DIMENSIONS, Input, UnknownToken
from actors.embedding.settings import INPUT_TOKENS_MAX, LIST_INPUTS_MAX, LIST_TOKENS_MAX, REQUEST_INPUTS_MAX

BASE64 = "base64"

_ENCODING_FORMATS = (None, "float", BASE64)
_NUMBERS = (int, float)
"""JSON has but one kind: 5.0 is a whole number, too. A boolean, which is an `int` here, is none."""

_KINDS = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", dict: "an object", list: "a list"}


Wanted = str | list[Any]
"""An `input` with which nothing is wrong: text, tokens, or a list of either."""


class EmbedBody(msgspec.Struct):
    """The members that are looked at; any others are ignored, `model` and `user` among them."""

    input: Any = None
    encoding_format: Any = None
    dimensions: Any = None


class Terms(msgspec.Struct, frozen=True):
    """What a path takes, and how long its clients wait, in seconds."""

    timeout_s: float
    lists_are_long: bool = False
    tokens_are_taken: bool = False

    @property
    def inputs_max(self) -> int:
        """Texts in one list."""
        return LIST_INPUTS_MAX if self.lists_are_long else REQUEST_INPUTS_MAX

    @property
    def wanted(self) -> str:
        """What `input` must be, in words."""
        tokens = ", each of which may come as its tokens" if self.tokens_are_taken else ""
        return f"it must be text, or a list of up to {self.inputs_max} texts{tokens}."


class WrongMember(msgspec.Struct, frozen=True):
    """What is wrong: the member, one sentence, and what kind of wrong it is."""

    member: str
    sentence: str
    code: str = "invalid_value"


def what_is_wrong(body: EmbedBody, terms: Terms) -> WrongMember | None:
    """What no retry can mend, if anything."""
    found = _wrong_input(body.input, terms)
    if found is not None:
        return found
    if not any(body.encoding_format == known for known in _ENCODING_FORMATS):
        return WrongMember("encoding_format", 'The field encoding_format must be "float" or "base64".')
    if body.dimensions is not None and (isinstance(body.dimensions, bool) or body.dimensions != DIMENSIONS):
        return WrongMember("dimensions", f"The field dimensions can only be {DIMENSIONS}: the model has no others.")
    return None


def inputs_of(value: Wanted, chars_max: int) -> list[Input]:
    """The texts of an `input` with which nothing is wrong, each cut at `chars_max` characters."""
    if isinstance(value, str):
        return [value[:chars_max]]
    if isinstance(value[0], int | float):
        return [tuple(map(int, value))]
    return [each[:chars_max] if isinstance(each, str) else tuple(map(int, each)) for each in value]


def unknown_token(value: Wanted, found: UnknownToken) -> WrongMember:
    """What is said of tokens that cannot be this model's."""
    place = "" if isinstance(value[0], int | float) else f" at index {found.index}"
    sentence = (
        f"The field input holds the token {found.token}{place}, which this model gives to no text: send texts, because "
        "tokens of other models mean nothing here."
    )
    return WrongMember("input", sentence)


def _wrong_input(value: object, terms: Terms) -> WrongMember | None:
    sentence = _sentence_about(value, terms)
    if sentence is None:
        return None
    return WrongMember("input", sentence, "missing_required_parameter" if value is None else "invalid_value")


def _sentence_about(value: object, terms: Terms) -> str | None:
    if value is None:
        return f"The field input is required; {terms.wanted}"
    if value in ("", []):
        return f"The field input is empty; {terms.wanted}"
    if isinstance(value, str):
        return None
    if not isinstance(value, list):
        return f"The field input is {_KINDS[type(value)]}; {terms.wanted}"
    if terms.tokens_are_taken and type(value[0]) in _NUMBERS:
        return _wrong_tokens(value, "")
    return _wrong_list(value, terms)


def _wrong_list(values: list[object], terms: Terms) -> str | None:
    if len(values) > terms.inputs_max:
        return f"The field input is a list of {len(values)} texts; at most {terms.inputs_max} are taken at once."
    for index, value in enumerate(values):
        sentence = None
        if terms.tokens_are_taken and isinstance(value, list):
            sentence = _wrong_tokens(value, f" at index {index}")
        elif not isinstance(value, str):
            sentence = (
                f"The field input holds {_KINDS[type(value)]} at index {index}; each of its elements must be text."
            )
        elif value == "":
            sentence = f"The field input holds an empty text at index {index}."
        if sentence is not None:
            return sentence
    tokens = sum(len(each) for each in values if isinstance(each, list))
    if tokens > LIST_TOKENS_MAX:
        return f"The field input holds {tokens} tokens in all; at most {LIST_TOKENS_MAX} are taken at once."
    return None


def _wrong_tokens(tokens: list[object], place: str) -> str | None:
    """What is wrong with one text's tokens, which stand at `place` of the list."""
    if not tokens:
        return f"The field input holds an empty list{place}."
    if len(tokens) > INPUT_TOKENS_MAX:
        return f"The field input holds {len(tokens)} tokens{place}; at most {INPUT_TOKENS_MAX} are taken of one text."
    if set(map(type, tokens)) == {int}:
        return None
    for index, token in enumerate(tokens):
        if type(token) is not int and not (isinstance(token, float) and token.is_integer()):
            found = _KINDS.get(type(token), "a text")
            return f"The field input holds {found} among tokens{place} (number {index}); tokens are whole numbers."
    return None

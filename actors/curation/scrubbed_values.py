"""JSON values of one session, scrubbed, with the places of what was found in them.

The session's values are told apart by ordinals (`SessionOrdinals`), under a key that is thrown away with this object.
"""

import json
import re
from collections import Counter
from typing import Any, Final

import msgspec

from actors.curation.scrubbing import json_values
from actors.curation.scrubbing.findings import Finding, SessionOrdinals
from actors.curation.scrubbing.scrubber import PIIScrubber
from actors.curation.scrubbing.spans import WITHHELD

WITHIN_JSON: Final = -1
"""The offset of what was found in JSON within a text: where it stands there depends on how that is written."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_encode: Final = msgspec.json.Encoder().encode


class FoundAt(msgspec.Struct, frozen=True):
    """What was found in one text: `at` is its place in the record as a JSON pointer (RFC 6901)."""

    at: str
    found: tuple[Finding, ...]


class ScrubbingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What scrubbing found in a session: counted by placeholder, and the places of the first so many.

    `findings` counts what was replaced, `withheld` the texts that could not be scrubbed.
    """

    findings: int
    withheld: int
    by_category: dict[str, int]
    places: tuple[FoundAt, ...]


class ScrubbedValues:
    """Scrubs the values of one session; `counts` is what was found so far, by placeholder."""

    def __init__(self, *, text_chars_max: int, findings_max: int) -> None:
        self._scrubber = PIIScrubber.for_trajectories(chars_max=text_chars_max)
        self._ordinals = SessionOrdinals()
        self._left = findings_max
        self._too_deep = 0
        self._places: list[FoundAt] = []

    def __repr__(self) -> str:
        return f"<ScrubbedValues {self.counts.total()} found>"

    @property
    def counts(self) -> Counter[str]:
        """What was found so far, by placeholder."""
        return self._scrubber.counts + Counter({WITHHELD: self._too_deep})

    def report(self) -> ScrubbingReport:
        """Say what was found so far, without saying what it was."""
        counts = self.counts
        withheld = counts.pop(WITHHELD, 0)
        return ScrubbingReport(
            findings=counts.total(),
            withheld=withheld,
            by_category=dict(sorted(counts.items())),
            places=tuple(self._places),
        )

    def scrubbed(self, text: bytes, at: str) -> bytes:
        """The JSON text of a value, with its texts scrubbed; `at` is the value's place in the record.

        It is compact, and numbers have the digits that they had. Raises ValueError for what is no JSON.
        """
        value = json.loads(text, parse_int=_as_written, parse_float=_as_written)
        return _encode(self._value(value, "", at, 0, in_list=False))

    def _value(self, value: Any, name: str, at: str, depth: int, *, in_list: bool) -> Any:  # noqa: ANN401 JSON
        """As `json_values.scrubbed` goes through a value, text by text, so that each text's place is known."""
        if isinstance(value, str):
            return self._text(value, name, at, in_list=in_list)
        if isinstance(value, dict | list) and depth >= json_values.DEPTH_MAX:
            self._too_deep += 1
            return WITHHELD
        if isinstance(value, dict):
            return {
                key: self._value(each, key, f"{at}/{_token(key)}", depth + 1, in_list=False)
                for key, each in value.items()
            }
        if isinstance(value, list):
            return [
                self._value(each, name, f"{at}/{place}", depth + 1, in_list=True) for place, each in enumerate(value)
            ]
        return value

    def _text(self, text: str, name: str, at: str, *, in_list: bool) -> str:
        found: list[Finding] = []

        def scrub(telling: str, part: str) -> str:
            result = self._scrubber.scrub_with_findings(part, self._ordinals, name=telling)
            found.extend(
                each if part is text else Finding(WITHIN_JSON, each.category, each.ordinal) for each in result.findings
            )
            return result.text

        # A text's name decides what it means, and in a list it is never an id of the protocol.
        (after,) = json_values.scrubbed({name: [text] if in_list else text}, scrub).values()  # type: ignore[union-attr]
        after = after[0] if isinstance(after, list) else after
        assert isinstance(after, str), "a text is scrubbed to a text"
        if listed := tuple(found[: max(0, self._left)]):
            self._left -= len(listed)
            self._places.append(FoundAt(at, listed))
        return after if after is text else _SURROGATE.sub("\ufffd", after)


def _as_written(digits: str) -> msgspec.Raw:
    return msgspec.Raw(digits.encode())


def _token(name: str) -> str:
    """A member's name as part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1") if "~" in name or "/" in name else name

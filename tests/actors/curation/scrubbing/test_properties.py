"""What holds of any text and any JSON value."""

import json
import re
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.curation.scrubbing.findings import SessionOrdinals
from actors.curation.scrubbing.scrubber import PIIScrubber
from actors.curation.scrubbing.spans import PLACEHOLDERS

PLACEHOLDER = re.compile("|".join(map(re.escape, PLACEHOLDERS)))
# Pieces that meet the rules halfway: what they make together, no one has thought of.
PIECES = st.sampled_from(
    [
        *PLACEHOLDERS,
        "ana@foldline.io",
        "@",
        ".",
        "-",
        ":",
        "::",
        "/",
        "\\",
        "\\n",
        "\n",
        " ",
        '"',
        "'",
        "=",
        "+",
        "[",
        "]",
        "203.0.113.9",
        "2001:db8::9",
        "fe80::1",
        "1.2.3",
        "415-555-0132",
        "+1 415 555 0132",
        "(303) 555-0125",
        "phone=",
        "4111",
        "4111111111111111",
        "536-22-8714",
        "ssn",
        "a" * 40,
        "0" * 40,
        "deadbeef" * 5,
        "commit ",
        "/Users/ana",
        "/home/bo/x",
        "/home/",
        "C:\\Users\\bob",
        "https://",
        "https://a.io/?token=",
        "://u:",
        "pw9X",
        "Bearer ",
        "Authorization: ",
        "eyJhbGciOiJI.eyJz.x",
        "sk-",
        "sk_live_4eC39HqLyjWDarjtT1",
        "ghp_82guuepKExH2WwZHsTxmTmUAousUJqpvFb5W",
        "AKIAIOSFODNN7EXAMPLE",
        "password",
        "token:",
        "M41lp01Dx2hjfF1K",
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----END RSA PRIVATE KEY-----",
        "MIIEowIBAAKCAQEAx7Qz",
        "tel",
        "Cookie: s=",
        "127.0.0.1",
        "::1",
        "%40",
        "\\u0040",
        "ü",
        "\u2011",
        "\u00a0",
        "git@github.com",
        "https",
        "com",
        "0x",
    ]
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=12).map("".join))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "password", "id", "phone", "call_id"]) | TEXTS, inner, max_size=4)
    ),
    max_leaves=12,
)
SCRUBBERS = st.sampled_from([PIIScrubber(), PIIScrubber.for_trajectories()])


@given(TEXTS, SCRUBBERS)
@settings(max_examples=600, deadline=None)
def test_scrubbing_twice_changes_nothing(text: str, scrubber: PIIScrubber) -> None:
    once = scrubber.scrub(text)
    assert scrubber.scrub(once) == once


@given(TEXTS, SCRUBBERS)
@settings(max_examples=300, deadline=None)
def test_placeholders_stay_and_nothing_is_withheld(text: str, scrubber: PIIScrubber) -> None:
    before = Counter(PLACEHOLDER.findall(text))
    after = Counter(PLACEHOLDER.findall(scrubber.scrub(text)))
    assert all(after[each] >= count for each, count in before.items())
    assert after["[WITHHELD]"] == before["[WITHHELD]"]


@given(TEXTS, SCRUBBERS)
@settings(max_examples=300, deadline=None)
def test_findings_stand_where_they_say(text: str, scrubber: PIIScrubber) -> None:
    scrubbed = scrubber.scrub_with_findings(text, SessionOrdinals())
    places = [each.offset for each in scrubbed.findings]
    assert places == sorted(places)
    assert all(scrubbed.text.startswith(each.category, each.offset) for each in scrubbed.findings)


@given(VALUES, SCRUBBERS)
@settings(max_examples=300, deadline=None)
def test_scrubbed_json_is_json_of_the_same_shape(value: Any, scrubber: PIIScrubber) -> None:
    scrubbed = scrubber.scrub_value(value)
    assert json.loads(json.dumps(scrubbed)) == scrubbed
    assert shape(scrubbed) == shape(value)
    assert scrubber.scrub_value(scrubbed) == scrubbed


@given(VALUES, SCRUBBERS)
@settings(max_examples=300, deadline=None)
def test_json_within_text_stays_json(value: Any, scrubber: PIIScrubber) -> None:
    text = json.dumps({"value": value})
    scrubbed = scrubber.scrub_value({"text": text})
    json.loads(scrubbed["text"])
    assert scrubber.scrub_value(scrubbed) == scrubbed


def shape(value: Any) -> Any:
    """A value without what its texts say."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)

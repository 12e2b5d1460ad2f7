"""JSON values, the numbers of what was found, and what importing the scrubber costs."""

import json
import subprocess
import sys
import tracemalloc

from actors.curation.scrubbing.findings import Finding, SessionOrdinals
from actors.curation.scrubbing.json_values import DEPTH_MAX
from actors.curation.scrubbing.scrubber import PIIScrubber

SCRUBBER = PIIScrubber.for_trajectories()


def test_keys_and_ids_of_the_protocol_stay() -> None:
    value = {"ana@foldline.io": 1, "call_id": "a" * 40, "tool_call_id": "203.0.113.9", "uuid": "4111111111111111"}
    assert SCRUBBER.scrub_value(value) == value


def test_an_id_that_is_more_than_an_id_is_scrubbed() -> None:
    assert SCRUBBER.scrub_value({"id": "for ana@foldline.io"}) == {"id": "for [EMAIL]"}


def test_a_member_says_what_its_text_means() -> None:
    value = {
        "password": "M41lp01Dx2hjfF1K",
        "ssn": "457559462",
        "phone": "4155550132",
        "commit": "a4c123b1612dd272d1371c17149d439536b3216f",
    }
    assert SCRUBBER.scrub_value(value) == {
        "password": "[API_KEY]",
        "ssn": "[SSN]",
        "phone": "[PHONE]",
        "commit": "a4c123b1612d",
    }


def test_json_within_text_is_scrubbed_as_json() -> None:
    inner = json.dumps({"to": "ana@foldline.io", "call_id": "b" * 40, "card": 4111111111111111})
    outer = SCRUBBER.scrub_value({"arguments": inner})
    assert json.loads(outer["arguments"]) == {"to": "[EMAIL]", "call_id": "b" * 40, "card": "[CREDIT_CARD]"}


def test_a_value_that_is_nested_too_deeply_is_withheld() -> None:
    value: object = "ana@foldline.io"
    for _ in range(DEPTH_MAX + 2):
        value = [value]
    assert "foldline" not in repr(SCRUBBER.scrub_value(value))


def test_the_same_value_has_the_same_number_within_a_session() -> None:
    ordinals = SessionOrdinals()
    first = SCRUBBER.scrub_with_findings("a@foldline.io b@foldline.io", ordinals)
    second = SCRUBBER.scrub_with_findings("again b@foldline.io", ordinals)
    assert first.findings == (Finding(0, "[EMAIL]", 1), Finding(8, "[EMAIL]", 2))
    assert second.findings == (Finding(6, "[EMAIL]", 2),)


def test_values_beyond_the_bound_are_not_told_apart() -> None:
    ordinals = SessionOrdinals(values_max=1)
    findings = SCRUBBER.scrub_with_findings("a@foldline.io b@foldline.io a@foldline.io", ordinals).findings
    assert [each.ordinal for each in findings] == [1, 0, 1]
    assert repr(ordinals) == "<SessionOrdinals 1 of 1 values>"


def test_findings_are_counted_by_placeholder() -> None:
    scrubber = PIIScrubber()
    scrubber.scrub("a@foldline.io and 203.0.113.9 and b@foldline.io")
    assert scrubber.counts == {"[EMAIL]": 2, "[IP]": 1}


def test_memory_is_at_most_four_times_the_text() -> None:
    text = (
        "Some words of a log line, ana@foldline.io, and then a good many more words that hold nothing at all.\n"
        * 20_000
    )
    SCRUBBER.scrub(text[:1000])
    tracemalloc.start()
    try:
        SCRUBBER.scrub(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(text)


def test_importing_the_scrubber_loads_no_tables_of_phone_numbers() -> None:
    probe = "import sys, actors.curation.scrubbing.scrubber; print(sorted({'phonenumbers', 'trio'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"

import json
from typing import Any

import msgspec
import pytest

from persistence.format.consent_events import (
    BEFORE_FIRST,
    METADATA_BYTES_MAX,
    ConsentEvent,
    ConsentEventError,
    ConsentSource,
    ConsentState,
    Decision,
    canonical_bytes,
    check_chain,
    event_sha256,
    new_event,
    state_of,
    subject_digest,
    without_subject,
)

NOTICE = "0f" * 32


def event(previous: str = BEFORE_FIRST, **changed: Any) -> ConsentEvent:
    members: dict[str, Any] = {
        "subject": "7d1f00c2",
        "at_us": 1_796_000_000_000_000,
        "state": Decision.GIVEN,
        "version": "1.0",
        "purposes": ("training",),
        "notice_version": "1.0",
        "notice_sha256": NOTICE,
        "source": ConsentSource.CLIENT,
        "previous_sha256": previous,
    }
    return new_event(**{**members, **changed})


def chain(length: int, **changed: Any) -> list[ConsentEvent]:
    events: list[ConsentEvent] = []
    previous = BEFORE_FIRST
    for n in range(length):
        events.append(event(previous, subject=f"user_{n % 3}", **changed))
        previous = event_sha256(events[-1])
    return events


def test_what_is_hashed_is_json_by_rfc_8785() -> None:
    # RFC 8785 for texts, integers and ASCII names is what json.dumps writes with these options.
    made = event(subject="zoë \u2028\x1f\x7f", version='1\n"\\/', metadata='{"ui": "settings"}')
    read = json.loads(canonical_bytes(made))
    written = json.dumps(read, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert canonical_bytes(made) == written.encode()
    assert read["subject"] == subject_digest("zoë \u2028\x1f\x7f")
    assert read["version"] == '1\n"\\/'


def test_an_events_hash_never_changes_between_versions_of_the_program() -> None:
    fixed = msgspec.structs.replace(event(metadata='{"ui":"settings"}'), id="consent_1")
    assert event_sha256(fixed) == "2cb44572716508a58c215884ee04a8f63159c93552caddf1ca81d2a7377ff1c1"


def test_a_chain_of_events_verifies_whoever_they_are_of() -> None:
    events = chain(7)
    check = check_chain(events, head_sha256=event_sha256(events[-1]))
    assert (check.events, check.wrong, check.head_sha256) == (7, None, event_sha256(events[-1]))
    assert check_chain([]).wrong is None
    assert check_chain([], head_sha256=BEFORE_FIRST).wrong is None


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "consent_other"},
        {"subject": "somebody else"},
        {"at_us": 1},
        {"state": Decision.WITHDRAWN},
        {"version": "0.9"},
        {"purposes": ()},
        {"notice_version": "2"},
        {"notice_sha256": "ab" * 32},
        {"source": ConsentSource.OPERATOR},
        {"previous_sha256": "ab" * 32},
        {"metadata": "{}"},
    ],
)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_changed_event_is_found_wherever_it_stands(place: int, changed: dict[str, Any]) -> None:
    events = chain(5)
    head = event_sha256(events[-1])
    events[place] = msgspec.structs.replace(events[place], **changed)
    assert check_chain(events, head_sha256=head).wrong is not None


def test_missing_exchanged_and_added_events_are_found() -> None:
    events = chain(5)
    head = event_sha256(events[-1])
    for tampered in (
        events[1:],
        events[:2] + events[3:],
        events[:-1],
        [],
        [events[1], events[0], *events[2:]],
        [*events, event(event_sha256(events[-2]))],
        [*events[:2], event(event_sha256(events[1])), *events[2:]],
    ):
        assert check_chain(tampered, head_sha256=head).wrong is not None


def test_an_event_without_its_subject_has_the_same_hash_and_no_trace_of_it() -> None:
    events = chain(4, metadata='{"note": "from the settings of alice"}')
    erased = [without_subject(each) if each.subject == "user_0" else each for each in events]
    assert check_chain(erased, head_sha256=event_sha256(events[-1])).wrong is None
    text = msgspec.json.encode(erased)
    assert b'"user_0"' not in text
    assert text.count(b"alice") == 2
    assert without_subject(erased[0]) == erased[0]


def test_only_the_last_event_counts_and_only_for_the_current_terms() -> None:
    assert state_of(None) is ConsentState.NONE
    assert state_of(event()) is ConsentState.GIVEN
    assert state_of(event(version="0.9")) is ConsentState.OUTDATED
    assert state_of(event(), "2.0") is ConsentState.OUTDATED
    assert state_of(event(state=Decision.WITHDRAWN)) is ConsentState.WITHDRAWN
    assert state_of(event(state=Decision.WITHDRAWN, version="0.9")) is ConsentState.WITHDRAWN


@pytest.mark.parametrize(
    "changed",
    [
        {"subject": ""},
        {"subject": "x" * 257},
        {"subject": "\ud83d"},
        {"subject": subject_digest("7d1f00c2")},
        {"version": ""},
        {"version": "\ud83d"},
        {"at_us": -1},
        {"at_us": 2**53},
        {"purposes": ("",)},
        {"purposes": ("a",) * 17},
        {"notice_sha256": "no hash"},
        {"previous_sha256": "AB" * 32},
        {"metadata": "x" * (METADATA_BYTES_MAX + 1)},
        {"metadata": "\ud83d"},
    ],
)
def test_what_cannot_be_an_event_is_refused_with_a_sentence(changed: dict[str, Any]) -> None:
    with pytest.raises(ConsentEventError, match=r"\w"):
        event(**changed)


def test_ids_of_events_are_never_the_same() -> None:
    assert len({event().id for _ in range(100)}) == 100


def test_events_go_through_json_unchanged() -> None:
    made = event(metadata='{"a":1}')
    assert msgspec.json.decode(msgspec.json.encode(made), type=ConsentEvent) == made

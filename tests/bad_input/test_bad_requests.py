"""Each bad request to an endpoint beside the contract's gets its status and one sentence, and changes nothing."""

import re
from collections import Counter
from pathlib import Path

import trio

from tests.bad_input.bad_requests import REFUSED_RECORDS, all_requests
from tests.bad_input.endpoints_asked import JOB, SUBMIT, Bad
from tests.bad_input.everything_offered import Offering, offering
from tests.bad_input.wire import Answer
from tests.fuzz.invariants import is_one_sentence

REQUESTS = all_requests()
ROOMS = (
    *("access", "audit", "bans", "consent", "corpus", "exports", "intake", "jobs", "metrics", "observer", "refused"),
    *("search", "sessions"),
)
WORDS_OF_LIBRARIES = re.compile(r"`\$|Expected `|msgspec|Traceback|Object (contains|missing)|<class|Errno|werkzeug")
"""What a sentence says that was written for programmers of something else."""
FIGURES_BYTES_MAX = 200_000
SAID_ON_PAGE = re.compile(r'role="alert">([^<]+)<')


async def test_each_is_refused_in_one_sentence_and_changes_nothing(tmp_path: Path) -> None:
    """All of them over one application; what one of them changes is told at once."""
    found: list[str] = []
    async with offering(tmp_path) as server:
        for bad in REQUESTS:
            if bad.kind == "slow":
                continue
            before = server.state()
            answer = await _asked(server, bad)
            found += [f"{bad.name}: {each}" for each in _complaints(server, bad, answer)]
            if server.state() != before:
                found.append(f"{bad.name}: something was written")
        async with trio.open_nursery() as nursery:  # each waits for its time, so all do at once
            for bad in REQUESTS:
                if bad.kind == "slow":
                    nursery.start_soon(_ask_slowly, server, bad, found)
        assert found == [], "\n".join(found)
        answer = await server.ask("GET", "/metrics", [("Authorization", f"Bearer {server.tokens['read']}")])
        assert answer.status == 200
        assert len(answer.body) < FIGURES_BYTES_MAX, "the figures grow with what is asked"


async def test_each_record_is_refused_by_itself_and_nothing_is_stored(tmp_path: Path) -> None:
    async with offering(tmp_path) as server:
        before = server.state()
        headers = [("Authorization", f"Bearer {server.tokens['intake']}")]
        answer = await server.ask("POST", SUBMIT.path, headers, b"\n".join(line for _, line, _ in REFUSED_RECORDS))
        assert (answer.status, answer.members["accepted"]) == (200, 0)
        for (what, _, code), result in zip(REFUSED_RECORDS, answer.members["results"], strict=True):
            assert (result["accepted"], result["code"]) == (False, code), what
            assert is_one_sentence(result["reason"]), what
            assert WORDS_OF_LIBRARIES.search(result["reason"]) is None, what
        assert server.state() == before


async def test_wrong_tokens_of_an_address_are_counted_together_wherever_they_are_shown(tmp_path: Path) -> None:
    """Who tries the endpoints in turn has no more tries than who stays at one."""
    wrong = [bad for bad in REQUESTS if bad.what == "an unknown token"]
    async with offering(tmp_path, wrong_per_minute=3) as server:
        statuses = [(await _asked(server, bad, address="192.0.2.1")).status for bad in wrong]
        assert statuses == [401] * 3 + [429] * (len(wrong) - 3)
        assert (await _asked(server, wrong[0], address="192.0.2.2")).status == 401


def test_the_corpus_is_large_enough() -> None:
    """At least 150 of all new kinds, some of each in each room that can have them, and no two the same."""
    assert len(REQUESTS) >= 150
    rooms = Counter(bad.endpoint.room for bad in REQUESTS)
    assert {room for room in ROOMS if rooms[room] < 20} == set()
    kinds = {bad.kind for bad in REQUESTS}
    assert kinds >= {"wrong scope", "wrong method", "member", "argument", "id", "cross-site", "oversized", "slow"}
    again = Counter((bad.name, bad.headers, bad.body, bad.way_in) for bad in REQUESTS)
    assert [name for (name, *_), count in again.items() if count > 1] == []


async def _asked(server: Offering, bad: Bad, *, address: str | None = None) -> Answer:
    endpoint = bad.endpoint
    target = (bad.target or endpoint.path).replace(JOB, server.job_id)
    headers = list(bad.headers)
    if bad.way_in == "cookie":
        headers.append(("Cookie", server.cookie))
    elif bad.way_in != "nothing":
        scope = endpoint.scopes[0] if bad.way_in == "token" else bad.way_in
        headers.append(("Authorization", f"Bearer {server.tokens[scope]}"))
    method = bad.method or endpoint.method
    return await server.ask(method, target, headers, bad.body, ends=bad.ends, address=address)


async def _ask_slowly(server: Offering, bad: Bad, found: list[str]) -> None:
    answer = await _asked(server, bad)
    found += [f"{bad.name}: {each}" for each in _complaints(server, bad, answer)]


def _complaints(server: Offering, bad: Bad, answer: Answer) -> list[str]:
    found = []
    if answer.status not in bad.statuses:
        found.append(f"{answer.status} and not {bad.statuses}: {answer.body[:200]!r}")
    if answer.headers.get("access-control-allow-origin") != "*" or "x-request-id" not in answer.headers:
        found.append(f"headers are missing: {answer.headers}")
    if answer.status == 405 and bad.endpoint.method not in answer.headers.get("allow", ""):
        found.append(f"Allow is {answer.headers.get('allow')}")
    if any(token.encode() in answer.body for token in server.tokens.values()):
        found.append("a token is repeated")
    sentence = _sentence_of(answer)
    if sentence is None:
        return found
    if not is_one_sentence(sentence) or len(sentence) > 1_000:
        found.append(f"no sentence: {answer.body[:200]!r}")
    elif WORDS_OF_LIBRARIES.search(sentence):
        found.append(f"words of a library: {sentence}")
    elif re.search(bad.sentence, sentence) is None:
        found.append(f"{sentence!r}, without {bad.sentence!r}")
    return found


def _sentence_of(answer: Answer) -> str | None:
    """What is said; None on a page that says it in its own way."""
    if not answer.headers.get("content-type", "").startswith("text/html"):
        return str(answer.members.get("error"))
    said = SAID_ON_PAGE.search(answer.body.decode())
    return None if said is None else said[1]

"""Whether what came is what must come: a list of complaints, empty when all is well."""

import json
import re

from tests.bad_input.corpus import Case, Expected
from tests.bad_input.data_state import Journals
from tests.bad_input.wire import Answer, Received
from tests.dead_letters import body_of
from tests.fuzz.invariants import is_one_sentence


def complaints_of(case: Case, received: Received) -> list[str]:
    """Compare the answers and what became of the connection with what the case expects."""
    expected = case.expect
    statuses = [*expected.earlier, *([] if expected.status is None else [expected.status])]
    found = []
    came = [answer.status for answer in received.answers]
    if came != statuses:
        found.append(f"the answers are {[(a.status, a.body) for a in received.answers]}, not {statuses}")
    if received.connection != expected.connection:
        found.append(f"the connection was {received.connection}, not {expected.connection}")
    if received.rest:
        found.append(f"something came that is no answer: {received.rest!r}")
    if expected.status is not None and len(came) == len(statuses):
        found += _complaints_of_refusal(
            received.answers[-1], expected, is_openai="/v1/embeddings" in f"{case.path}{case.raw}{case.lines}"
        )
    if received.before is not None and _without_waiting(received.before) != _without_waiting(received.answers[-1]):
        found.append(f"sent for the first time, the answer was {received.before}")
    return found


def _without_waiting(answer: Answer) -> tuple[int, dict[str, object]]:
    return answer.status, {name: value for name, value in answer.members.items() if name != "retryAfter"}


def _complaints_of_refusal(answer: Answer, expected: Expected, *, is_openai: bool) -> list[str]:
    headers = {"access-control-allow-origin": "*", "content-type": "application/json"}
    if answer.status == 429:
        headers["retry-after"] = str(answer.members.get("retryAfter"))
    headers |= {name.lower(): value for name, value in expected.headers.items()}
    found = [
        f"the header {name} is {answer.headers.get(name)}, not {value}"
        for name, value in headers.items()
        if answer.headers.get(name) != value
    ]
    if answer.status >= 500 and expected.specified is None:
        found.append("a bad input is no fault of the server")
    if answer.members.get("code") != expected.code:
        found.append(f"the code is {answer.members.get('code')}, not {expected.code}")
    if "code" in answer.members and answer.members.get("accepted") is not False:
        found.append("a refusal on the ingest path must say that nothing was accepted")
    return found + _complaints_of_sentence(answer, expected.sentence, is_openai=is_openai)


def _complaints_of_sentence(answer: Answer, pattern: str | None, *, is_openai: bool) -> list[str]:
    sentence = answer.members.get("reason", answer.members.get("error"))
    if is_openai:  # in the form that OpenAI's clients read
        sentence = sentence.get("message") if isinstance(sentence, dict) else None
    if not isinstance(sentence, str) or not is_one_sentence(sentence):
        return [f"the refusal is not one sentence: {answer.body!r}"]
    if pattern is not None and re.search(pattern, sentence) is None:
        return [f"the sentence is {sentence!r}, without {pattern!r}"]
    return []


def complaints_of_writing(case: Case, body: bytes | None, before: Journals, after: Journals) -> list[str]:
    """Nothing may be written, but an authentic envelope that does not fit the schema to the dead letters, once."""
    if not case.expect.is_kept:
        return [f"{name} has grown" for name in after if after[name] != before.get(name, b"")]
    found = [f"{name} has grown" for name in after if name != "refused" and after[name] != before.get(name, b"")]
    earlier = before.get("refused", b"")
    letters = after.get("refused", b"")
    if not letters.startswith(earlier) or letters.count(b"\n") != earlier.count(b"\n") + 1:
        return [*found, "the dead letters have not grown by one line"]
    letter = json.loads(letters[len(earlier) :])
    if letter["refused"]["code"] != case.expect.code or body is None or body_of(letter) != body:
        found.append("the dead letter holds something else than what was refused")
    return found

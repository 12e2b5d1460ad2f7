"""What of a step is scrubbed before it is signed, and what stays."""

import json
import subprocess
import sys

import pytest

from actors.curation.scrubbing import scrubber as rules
from central_command.client.contract.scrubbing import StepScrubber, metadata_of_scrubbing
from central_command.client.contract.steps import CONTENT_CHARS_MAX, Step


def action(**changes: object) -> Step:
    members: dict[str, object] = {
        "step": 1,
        "type": "action",
        "timestamp": 1.0,
        "tool": "Bash",
        "arguments": {"command": "mail ana@foldline.io"},
        "content": "Using Bash",
        "call_id": "a" * 40,
        "token_count": 9,
    }
    return Step(**members | changes)  # type: ignore[arg-type]


def test_texts_and_arguments_are_scrubbed_and_ids_and_counts_stay() -> None:
    inner = json.dumps({"password": "M41lp01Dx2hjfF1K", "call_id": "b" * 40})
    scrubbed = StepScrubber().step(
        action(content="from 203.0.113.9", arguments={"inner": inner, "tool_call_id": "c" * 40})
    )
    assert (scrubbed.content, scrubbed.call_id, scrubbed.tool, scrubbed.token_count) == (
        "from [IP]",
        "a" * 40,
        "Bash",
        9,
    )
    assert scrubbed.arguments is not None
    assert json.loads(str(scrubbed.arguments["inner"])) == {"password": "[API_KEY]", "call_id": "b" * 40}
    assert scrubbed.arguments["tool_call_id"] == "c" * 40


def test_a_step_in_which_nothing_is_found_stays_the_same_object() -> None:
    step = action(arguments={"command": "ls"})
    scrubber = StepScrubber()
    assert scrubber.step(step) is step
    assert not scrubber.take_findings()


def test_findings_are_taken_once_and_by_category() -> None:
    scrubber = StepScrubber()
    scrubber.step(action(content="a@foldline.io b@foldline.io 203.0.113.9", arguments={}))
    assert scrubber.take_findings() == {"email": 2, "ip": 1}
    assert scrubber.take_findings() == {}


def test_a_text_that_grows_past_its_bound_is_cut_and_says_so() -> None:
    content = "a@b.co " * (CONTENT_CHARS_MAX // 7)
    scrubbed = StepScrubber().step(action(content=content, token_count=25_000))
    assert len(scrubbed.content) <= CONTENT_CHARS_MAX
    assert (scrubbed.truncated, scrubbed.original_token_count) == (True, 25_000)
    assert "@" not in scrubbed.content


def test_what_cannot_be_scrubbed_is_withheld_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(text: object) -> None:
        raise RuntimeError("a rule's mistake")

    monkeypatch.setattr(rules, "RULES", ((failing, frozenset({"at"})),))
    scrubber = StepScrubber()
    scrubbed = scrubber.step(action(content="ask ana@foldline.io"))
    assert (scrubbed.content, scrubbed.arguments) == ("[WITHHELD]", {"command": "[WITHHELD]"})
    assert scrubber.take_findings() == {"withheld": 2}


def test_members_that_join_a_step_with_others_stay() -> None:
    members = {"type": "error", "tool": "a@foldline.io", "call_id": "d" * 40, "content": "a@foldline.io", "note": "::1"}
    assert StepScrubber().members(members) == members | {"content": "[EMAIL]"}


def test_the_metadata_say_whether_and_by_which_rules() -> None:
    assert metadata_of_scrubbing(is_scrubbed=False) == {"scrubbed": False}
    assert metadata_of_scrubbing(is_scrubbed=True) == {"scrubbed": True, "scrub_rules": 1}


def test_who_does_not_scrub_loads_no_rules() -> None:
    """Neither the help of `upload` nor the client as a whole, until something is to be scrubbed."""
    code = (
        "import sys\nimport central_command.client.uploading.watch, central_command.client.recording.synchronous\n"
        "print(sorted(name for name in sys.modules if name.startswith(('ahocorasick', 'phonenumbers'))"
        " or name == 'actors.curation.scrubbing.scrubber'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

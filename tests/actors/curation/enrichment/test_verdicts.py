"""Each rule of enrichment by itself: what counts, what does not, and that nothing a client sends can break it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.curation import enrichment
from actors.curation.enrichment.calls import calls_of
from actors.curation.enrichment.commands import Command, command_line, command_of
from actors.curation.enrichment.edits import FileKind, edits_of, kind_of
from actors.curation.enrichment.enriching import enrich
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.enrichment.tools import Activity, activity_of
from actors.curation.enrichment.verdicts import CuratedEnrichment, QualityVerdict
from actors.curation.stitched import StitchedTrajectory, read_stitched
from central_command.client.transcripts.detection import detect
from central_command.client.transcripts.reader import Reading
from persistence.format import times
from tests.actors.curation.trajectory_lines import call, prompt, thought, trajectory

REPOSITORY = Path(__file__).parents[4]
TRANSCRIPTS = REPOSITORY / "tests" / "transcripts"
SETTINGS = EnrichmentSettings()


def found(made: StitchedTrajectory) -> CuratedEnrichment:
    return enrich(made, SETTINGS)


def target(*steps: Any) -> str | None:
    return found(trajectory(*steps)).cognitive_target.target


def quality(*steps: Any, **members: Any) -> QualityVerdict:
    return found(trajectory(*steps, **members)).quality_assessment


def good_session() -> list[dict[str, Any]]:
    return [
        prompt("Add a flag"),
        thought("Where are the options?"),
        *call("Read", "options", file_path="/w/cli.py"),
        *call("Edit", "ok", file_path="/w/cli.py", old_string="a", new_string="a\nb"),
        *call("Bash", "3 passed", command="pytest -q"),
        thought("The flag is there."),
    ]


def read_transcript(path: Path) -> StitchedTrajectory:
    reader = detect(path)
    assert reader is not None
    with path.open("rb") as file:
        reading = Reading(reader.read(file))
        steps = [msgspec.to_builtins(step) for step in reading]
    told = reading.transcript
    return trajectory(
        *steps,
        metadata={"provider": told.provider, "model_engine": told.model or "unknown"},
        started_at=times.to_text(told.started_s or 0),
        ended_at=times.to_text(told.ended_s or 0),
        total_tokens=sum(step["token_count"] for step in steps),
    )


@pytest.mark.parametrize(
    ("name", "cognitive_target", "why"),
    [
        ("long", "implementation", "42 edits of code, nine new files; few answer a failure"),
        ("subagent", "planning", "the web is searched, a plan written, asked about and handed over"),
        ("tool_heavy", "exploration", "files are looked at and the web is searched; nothing is changed"),
        ("short", "exploration", "two looks at processes that failed, before the user stopped it"),
    ],
)
def test_real_sessions_of_a_coding_agent(name: str, cognitive_target: str, why: str) -> None:
    verdicts = found(read_transcript(TRANSCRIPTS / f"{name}.jsonl"))
    assert verdicts.cognitive_target.target == cognitive_target, why
    assert verdicts.model_verified.verdict == "consistent"
    assert verdicts.quality_assessment.training_eligible is (name != "short")
    assert (verdicts.derived.outcome == "interrupted") is (name in {"short", "tool_heavy"})


def test_every_tool_of_every_reader_is_known_unless_it_is_a_servers() -> None:
    """The tools of all transcripts of the thirteen agents, but for those of MCP servers and made-up ones."""
    read = [path for path in sorted(TRANSCRIPTS.rglob("*.json*")) if detect(path) is not None]
    assert len(read) > 30
    for path in read:
        for made in calls_of(read_transcript(path).trajectory_log):
            is_other = made.tool.startswith(("mcp__", "no_such", "TaskOutput", "unnamed")) or not made.tool
            assert (made.activity is Activity.OTHER) is is_other, (path.name, made.tool)


@pytest.mark.parametrize(
    ("tool", "activity"),
    [
        ("read_file", Activity.READ),
        ("ReadFile", Activity.READ),
        ("developer__shell", Activity.SHELL),
        ("mcp__files__read", Activity.OTHER),
        ("StrReplaceFile", Activity.EDIT),
        ("exec_command", Activity.SHELL),
        ("google_web_search", Activity.WEB),
        ("", Activity.OTHER),
        ("_" * 1_000, Activity.OTHER),
    ],
)
def test_tools_are_known_in_every_spelling(tool: str, activity: Activity) -> None:
    assert activity_of(tool) is activity


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("pytest -q tests", Command.TEST),
        ("cd /w && FOO=1 timeout 60 python3.11 -m pytest | tail -3", Command.TEST),
        ("npm run test:unit", Command.TEST),
        ("make test-fast", Command.TEST),
        (["bash", "-lc", "cargo test --all"], Command.TEST),
        ("/bin/bash -lc 'go test ./...'", Command.TEST),
        (".venv/bin/python -m pytest", Command.TEST),
        ("make", Command.BUILD),
        ("npx tsc --noEmit", Command.BUILD),
        ("sudo systemctl restart nginx", Command.OPERATE),
        ("git diff main...HEAD | head", Command.REVIEW),
        ("git log --oneline", Command.HISTORY),
        ("sed -n 1,20p a.py", Command.READ),
        ("sed -i s/a/b/ a.py", Command.EDIT),
        ("cat > a.py <<'EOF'\nprint(1)\nEOF", Command.EDIT),
        ("python a.py 2>&1 >/dev/null", Command.RUN),
        ("python a.py > /tmp/out", Command.RUN),
        ("node -e 'const f = x => x + 1'", Command.RUN),
        ("x" * 4_000, Command.RUN),
        ("rg -n foo", Command.SEARCH),
        ("node server.js", Command.RUN),
        ("cd /w", Command.NOTHING),
        ("apply_patch <<'EOF'\n*** Begin Patch\n*** Add File: a\n+x\n*** End Patch\nEOF", Command.EDIT),
        (None, Command.NOTHING),
        ({"value": 1}, Command.NOTHING),
        ("", Command.NOTHING),
    ],
)
def test_commands_are_told_by_what_they_run(line: object, command: Command) -> None:
    assert command_of(command_line(line)) is command


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/w/src/app.py", FileKind.CODE),
        ("/w/tests/test_app.py", FileKind.TEST),
        ("src/cart.spec.ts", FileKind.TEST),
        ("src/latest.ts", FileKind.CODE),
        ("C:\\w\\tests\\a.cs", FileKind.TEST),
        ("README", FileKind.DOCUMENT),
        ("docs/usage.html", FileKind.DOCUMENT),
        ("PLAN.md", FileKind.PLAN),
        ("src/planning.py", FileKind.CODE),
        ("Dockerfile", FileKind.OPERATION),
        (".github/workflows/ci.yml", FileKind.OPERATION),
        ("", FileKind.CODE),
    ],
)
def test_files_are_told_by_their_paths(path: str, kind: FileKind) -> None:
    assert kind_of(path) is kind


@pytest.mark.parametrize(
    ("line", "path", "kind"),
    [
        ("cat > docs/a.md <<'EOF'\n# A\nEOF", "docs/a.md", FileKind.DOCUMENT),
        ("echo x >> 'tests/test_a.py'", "tests/test_a.py", FileKind.TEST),
        ("sed -i s/a/b/ src/a.py", "src/a.py", FileKind.CODE),
        ("helm-docs | tee k8s/out.yaml", "k8s/out.yaml", FileKind.OPERATION),
    ],
)
def test_what_a_shell_writes_is_an_edit_of_that_file(line: str, path: str, kind: FileKind) -> None:
    made = calls_of(trajectory(*call("Bash", command=line)).trajectory_log)[0]
    assert [(edit.path, edit.kind) for edit in made.edits] == [(path, kind)]


def test_a_patch_is_an_edit_of_each_of_its_files() -> None:
    patch = "*** Update File: a.py\n@@\n-x = 1\n+x = 2\n*** Add File: b_test.go\n+package b\n*** End Patch\n"
    made = [(edit.path, edit.kind, edit.is_new, edit.removed, edit.added) for edit in edits_of({"input": patch})]
    assert made == [
        ("a.py", FileKind.CODE, False, "x = 1", "x = 2"),
        ("b_test.go", FileKind.TEST, True, "", "package b"),
    ]


def test_the_prompt_decides_only_between_targets_that_are_close() -> None:
    reads = [each for n in range(4) for each in call("Read", "text", file_path=f"/w/{n}.py")]
    assert target(prompt("Please write the docs"), *reads) == "exploration"
    search = [each for n in range(4) for each in call("WebSearch", "text", query="q")]
    assert target(prompt("How does it work? Explain"), *reads, *search) == "exploration"
    assert target(prompt("Compare the alternatives"), *reads, *search) == "research"


def test_without_calls_there_is_a_target_only_by_the_prompt() -> None:
    assert target(prompt("Review this pull request"), thought("It is fine.")) == "review"
    assert target(prompt("Hello"), thought("Hello.")) is None
    assert target() is None


def test_a_failure_that_no_edit_follows_makes_no_debugging() -> None:
    edits = call("Edit", "ok", file_path="/w/a.py", old_string="a", new_string="a\nb\nc")
    assert target(prompt("Go on"), *edits, *call("Bash", "1 failed", failed=True, command="pytest")) == "implementation"
    assert target(prompt("Go on"), *call("Bash", "1 failed", failed=True, command="pytest"), *edits) == "debugging"


def test_results_without_ids_belong_to_the_calls_in_their_order() -> None:
    first, second = {"type": "action", "tool": "Bash"}, {"type": "action", "tool": "Read"}
    made = calls_of(trajectory(first, second, {"type": "error", "content": ""}, {"type": "observation"}).trajectory_log)
    assert [each.has_failed for each in made] == [True, False]


@pytest.mark.parametrize(
    ("members", "verdict", "code"),
    [
        ({}, "consistent", "family_of_provider"),
        ({"metadata": {"provider": "gemini", "model_engine": "gpt-5.5"}}, "inconsistent", "other_family_than_provider"),
        ({"metadata": {"provider": "codex", "model_engine": "openai/gpt-5.5"}}, "consistent", "family_of_provider"),
        ({"metadata": {"provider": "goose", "model_engine": "gpt-5.5"}}, "unknown", "nothing_names_model"),
        ({"metadata": {"provider": "codex", "model_engine": "auto"}}, "unknown", "no_model_named"),
        ({"close_metadata": {"model_engine": "gpt-5.5"}}, "inconsistent", "close_names_other_model"),
        ({"close_metadata": {"model_engine": "us.anthropic.claude-opus-4-6-v1:0"}}, "consistent", "family_of_provider"),
        ({"close_metadata": {"model_engine": 7}, "metadata": {"provider": 1}}, "unknown", "no_model_named"),
    ],
)  # fmt: skip
def test_what_names_the_model_must_agree(members: dict[str, Any], verdict: str, code: str) -> None:
    made = found(trajectory(thought("Hm."), **members)).model_verified
    assert (made.verdict, made.reasons[0].code) == (verdict, code)


def test_models_that_steps_name_count_by_their_number_under_all_their_names() -> None:
    own = [thought("a", model="claude-opus-4-6-20260101"), thought("b", model="anthropic/claude-opus-4.6")]
    other = [thought("c", model="claude-haiku-4-5")]
    assert found(trajectory(*own, *other)).model_verified.verdict == "consistent"
    assert found(trajectory(*own, *other, *other, *other)).model_verified.verdict == "inconsistent"
    routed = {"provider": "claude-code", "model_engine": "glm-4.6"}
    assert found(trajectory(thought("a", model="glm-4.6"), metadata=routed)).model_verified.verdict == "consistent"


def test_tools_of_another_agent_are_noticed() -> None:
    patches = [*call("apply_patch", "ok", input=""), *call("update_plan", "ok", plan=[])]
    made = found(trajectory(*patches)).model_verified
    assert (made.verdict, made.reasons[0].code) == ("inconsistent", "tools_of_other_agent")
    assert found(trajectory(*patches, *call("TodoWrite"))).model_verified.verdict == "consistent"


def test_the_parts_of_quality_add_up_to_the_score() -> None:
    good = quality(*good_session())
    assert good.score == round(sum(part.points for part in good.parts)) >= 90
    assert good.tier == "A"
    assert good.training_eligible


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"total_tokens": 499}, "insufficient_tokens"),
        ({"ended_at": "2026-11-20T10:12:09.999999Z"}, "too_short"),
        ({"ended_at": None}, "too_short"),
        ({"sequence_gaps": [{"before": 3, "missing": 1}]}, "sequence_gaps"),
        ({"repeated_members": 1}, "repeated_members"),
        ({"copied_steps": 9}, "wholly_copied"),
    ],
)
def test_a_trajectory_is_excluded_for_one_reason(members: dict[str, Any], reason: str) -> None:
    assert quality(*good_session(), **members).training_exclusion_reasons == (reason,)


def test_the_contracts_bounds_are_the_least_that_is_enough() -> None:
    steps = good_session()[:4]
    assert "too_few_steps" in quality(*steps).training_exclusion_reasons
    assert quality(*steps, thought("Done."), ended_at="2026-11-20T10:12:10.000000Z", total_tokens=500).training_eligible


def test_actions_and_observations_are_needed() -> None:
    words = [thought("a")] * 5
    assert quality(*words).training_exclusion_reasons == ("no_actions", "no_observations")
    assert quality(*words, *call("Read", None)).training_exclusion_reasons == ("no_observations",)
    assert quality(*words, *call("Read", "no", failed=True)).training_eligible


def test_cut_arguments_exclude_and_cost_points_and_cut_contents_only_cost() -> None:
    whole = quality(*good_session())
    steps = good_session()
    steps[4]["truncated"] = True  # the action that edits
    cut = quality(*steps)
    assert cut.training_exclusion_reasons == ("cut_arguments",)
    assert cut.score < whole.score
    steps = good_session()
    steps[3]["truncated"] = True  # what was read
    assert quality(*steps).training_eligible


def test_failures_that_are_recovered_cost_nothing() -> None:
    failing = call("Bash", "1 failed", failed=True, command="pytest")
    passing = call("Bash", "1 passed", command="pytest")
    recovered, lost = quality(*failing, *passing, thought("Done.")), quality(*passing, *failing, thought("Done."))
    assert [part.points for part in recovered.parts if part.code == "unrecovered_failures"] == [20.0]
    assert [part.points for part in lost.parts if part.code == "unrecovered_failures"] == [0.0]


@pytest.mark.parametrize(
    ("output", "outcome"),
    [("12 passed in 0.3s", "succeeded"), ("1 failed, 11 passed", "failed"), ("0 failures", "succeeded"), ("", None)],
)
def test_the_last_run_of_tests_tells_the_outcome(output: str, outcome: str | None) -> None:
    steps = [prompt("Go"), *call("Bash", "1 failed", command="pytest"), *call("Bash", output, command="pytest -q")]
    derived = found(trajectory(*steps)).derived
    assert derived.outcome == (outcome or "failed")
    edited = [*steps[:3], *call("Write", "ok", file_path="/w/a.py", content="x"), *steps[3:]]
    assert found(trajectory(*edited)).derived.outcome == outcome


@pytest.mark.parametrize(
    ("words", "feedback"),
    [
        ("Thank you!", "accepted"),
        ("perfect", "accepted"),
        ("This doesn\u2019t work", "rejected"),
        ("thanks, but it is still broken", "rejected"),
        ("Now the other one", None),
        ("thanks. " + "And now something longer. " * 40, None),
    ],
)
def test_the_users_last_words_tell_what_they_thought(words: str, feedback: str | None) -> None:
    assert found(trajectory(prompt("Do it"), thought("Done."), prompt(words))).derived.feedback == feedback
    assert found(trajectory(prompt(words), thought("Done."))).derived.feedback is None


def test_what_a_program_says_in_the_users_place_is_not_the_users() -> None:
    steps = [prompt("Do it"), thought("Done."), prompt("perfect", source="hook")]
    assert found(trajectory(*steps)).derived.feedback is None


def test_nothing_of_what_people_wrote_is_in_the_verdicts() -> None:
    """Reasons are codes and figures."""
    steps = [prompt("xyzzy-prompt thanks"), *call("xyzzy_tool", "xyzzy", path="/xyzzy"), prompt("xyzzy thanks")]
    assert b"xyzzy" not in msgspec.json.encode(found(trajectory(*steps)))


ANY_JSON = st.sampled_from(
    [None, True, 7, -1.5, "", "text", "a\nb", [], ["bash", "-lc", "pytest"], [[[]]], {}, {"a": [1]}]
)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["command", "path", "edits", "changes", "input", "diff", "old_string", "content"],
        ANY_JSON | st.sampled_from(["*** Begin Patch\n*** Add File: x\n+y", "x SEARCH y", "pytest"]),
    ),
)
STEP = st.fixed_dictionaries(
    {"type": st.sampled_from(["action", "observation", "error", "thought", "instruction", "edit", "delegate"])},
    optional={
        "tool": ANY_JSON | st.sampled_from(["Bash", "Edit", "apply_patch"]),
        "arguments": ANY_JSON | ARGUMENTS,
        "content": st.sampled_from([None, "", "1 failed", "1 passed", "thanks"]),
        "call_id": ANY_JSON,
        "source": ANY_JSON,
        "model": ANY_JSON,
        "is_error": ANY_JSON,
        "truncated": st.booleans(),
    },
)


@example([{"type": "action", "tool": "Edit", "arguments": {"command": ["view"]}}])
@given(st.lists(STEP, max_size=12))
def test_whatever_a_client_sends_gets_its_verdicts(steps: list[dict[str, Any]]) -> None:
    """Nothing raises, and what adds up adds up."""
    verdicts = found(trajectory(*steps))
    made = verdicts.quality_assessment
    assert 0 <= made.score <= 100
    assert made.training_eligible is not bool(made.training_exclusion_reasons)
    assert 0 <= verdicts.cognitive_target.confidence <= 1
    assert verdicts == found(trajectory(*steps))


def test_numbers_that_nobody_can_hold_and_lone_surrogates_are_no_harm() -> None:
    """Arguments that cannot be decoded read as none; half a character reads as U+FFFD."""
    line = rb"""{"trajectory_id":"traj_1","metadata":{},"trajectory_log":[
        {"type":"action","tool":"Bash","arguments":{"command":"pytest","n":1e400}},
        {"type":"observation","content":"\ud83d 1 passed"},
        {"type":"action","tool":"Bash","arguments":{"command":"pytest"}},
        {"type":"observation","content":"\ud83d 2 passed"}]}"""
    calls = calls_of(read_stitched(line).trajectory_log)
    assert [(each.command, each.check_passed) for each in calls] == [(Command.NOTHING, None), (Command.TEST, True)]


def codes() -> Iterator[str]:
    """Every code that the sources give as a reason."""
    for path in sorted(Path(enrichment.__path__[0]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if re.fullmatch(r"[a-z]+(?:_[a-z]+)+", node.value) and path.stem in {"quality", "guesses", "models"}:
                    yield node.value
                if path.stem == "targets" and re.fullmatch(r"[a-z]+(?:_[a-z]+)+", node.value):
                    yield node.value


def test_every_reason_is_explained() -> None:
    """docs/enrichment.md lists each code."""
    page = (REPOSITORY / "docs" / "enrichment.md").read_text("utf-8")
    assert [code for code in codes() if f"`{code}`" not in page and code != "model_engine"] == []

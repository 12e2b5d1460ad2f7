"""Sub-agents within their parents: whose each is, what is written of it, and what becomes of it later."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from central_command.client.uploading.lineage import lineage_of
from central_command.exporting.known_exports import exports_with
from central_command.exporting.plan import open_plan
from central_command.exporting.selection import ExportRefused
from central_command.exporting.settings import ExportSettings
from central_command.exporting.shape import Shape
from central_command.exporting.splits import Split
from central_command.exporting.verifying import read_index, verify_export
from tests.central_command.exporting.conftest import SMALL, contents, make
from tests.central_command.exporting.sessions import call, done, result, said
from tests.corpus_maker import put_sessions, session, steps_of, take_back

EMBED = Shape(subagents="embed")
FORMATS = ("atif", "messages", "jsonl", "swe-agent", "otel")


def line(number: int, *, key: str = "", parent: str = "", task: str = "", begins: str = "", **members: Any) -> Any:
    """A session of the agent's own id `key`, begun by `parent` with a task, and that begins another with its own."""
    steps = steps_of(f"work{number}")
    if task:
        steps[0] = {"type": "instruction", "source": "agent", "content": task}
    if begins:
        called = {"prompt": begins, "subagent_type": "tester"}
        steps[2:2] = [
            {"type": "action", "tool": "Task", "call_id": "task_1", "arguments": called, "content": "Using Task"},
            {"type": "observation", "call_id": "task_1", "content": f"Done {number}"},
        ]
    metadata = {
        "provider": "claude-code",
        "model_engine": "claude-opus-4-6",
        "agent_role": "subagent" if parent or task else "agent",
        "agent_id": members.pop("name", "claude-code-01234567"),
    }
    lineage = lineage_of("c", "claude-code", session_key=key, parent_key=parent)
    return session(number, steps, metadata=metadata | ({"lineage": lineage} if lineage else {}), **members)


def made(root: Path, target: Path, *lines: Any, formats: tuple[str, ...] = FORMATS, **options: Any) -> Any:
    """An export of these sessions with sub-agents within their parents, which is whole and adds up."""
    if lines:
        trio.run(put_sessions, root, list(lines))
    manifest = make(root, target, *formats, shape=EMBED, **options).manifest
    assert list(verify_export(target)) == []
    return manifest


def documents(target: Path) -> list[Any]:
    return [json.loads(text) for path in sorted(target.glob("atif/*.jsonl")) for text in path.read_text().splitlines()]


def nested(document: Any) -> Any:
    """The sessions of a document, as they are within each other."""
    return {document["session_id"]: [nested(each) for each in document.get("subagent_trajectories", [])]}


def rows(target: Path, name: str) -> list[Any]:
    return [
        json.loads(text) for path in sorted(target.glob(f"{name}/*.jsonl")) for text in path.read_text().splitlines()
    ]


@pytest.mark.parametrize("says_parent", [True, False])
def test_a_subagent_stands_within_the_session_that_called_it(tmp_path: Path, says_parent: bool) -> None:  # noqa: FBT001
    """Whoever came first, and whether the client names the parent or only calls both by the same name."""
    root, target = tmp_path / "data", tmp_path / "out"
    told = {"key": "root", "parent": ""} if says_parent else {}
    child = {"key": "root/a", "parent": "root"} if says_parent else {}
    manifest = made(
        root,
        target,
        line(0, task="Test the parser", **child),
        line(1, begins="Test the parser", **told),
        line(2),
    )
    assert (manifest.seen, manifest.kept, manifest.left_out) == (3, 2, {"embedded": 1})
    assert [nested(each) for each in documents(target)] == [{"sess_1": [{"sess_0": []}]}, {"sess_2": []}]
    parent = documents(target)[0]
    (within,) = parent["subagent_trajectories"]
    (result,) = [
        each
        for step in parent["steps"]
        for each in step.get("observation", {}).get("results", [])
        if "subagent_trajectory_ref" in each
    ]
    assert result["content"] == "Done 1"
    assert result["subagent_trajectory_ref"] == [
        {"trajectory_id": within["trajectory_id"], "session_id": within["session_id"]}
    ]
    told_of = [(row["session_id"], row["parent_session_id"]) for row in rows(target, "messages")]
    assert told_of == [("sess_1", None), ("sess_0", "sess_1"), ("sess_2", None)]
    assert [row["session_id"] for row in rows(target, "jsonl")] == ["sess_1", "sess_0", "sess_2"]
    entry = next(read_index(target))
    assert [each.session_id for each in entry.embedded] == ["sess_0"]
    assert exports_with(root, ["sess_0"]) == [str(target)]


def test_subagents_of_subagents_are_within_these(tmp_path: Path) -> None:
    """They all name the first session; the calls tell. The same task twice is one call's each."""
    root, target = tmp_path / "data", tmp_path / "out"
    manifest = made(
        root,
        target,
        line(0, key="root/b", parent="root", task="Look deeper"),
        line(1, key="root/a", parent="root", task="Look around", begins="Look deeper"),
        line(2, key="root/c", parent="root", task="Of no call that is known"),
        line(3, key="root", begins="Look around"),
    )
    assert manifest.left_out == {"embedded": 3}
    (document,) = documents(target)
    assert nested(document) == {"sess_3": [{"sess_1": [{"sess_0": []}]}, {"sess_2": []}]}
    assert [entry.steps for entry in read_index(target)] == [sum(len(steps_of("x")) for _ in range(4)) + 4]


def test_no_circle_is_made_and_nobody_is_another_contributors(tmp_path: Path) -> None:
    root, target = tmp_path / "data", tmp_path / "out"
    manifest = made(
        root,
        target,
        line(0, key="a", parent="b", task="Begin b", begins="Begin a"),
        line(1, key="b", parent="a", task="Begin a", begins="Begin b"),
        line(2, key="c", parent="c", task="Begin myself", begins="Begin myself", name="other"),
        line(3, key="d", parent="a", task="Begin b", contributor=2),
        formats=("atif",),
    )
    assert manifest.kept + sum(manifest.left_out.values()) == manifest.seen == 4
    assert manifest.left_out == {"embedded": 1}
    assert [nested(each) for each in documents(target)] == [
        {"sess_1": [{"sess_0": []}]},
        {"sess_2": []},
        {"sess_3": []},
    ]


def test_who_has_no_parent_in_the_export_stands_alone(tmp_path: Path) -> None:
    """The parent is left out, or there is none; a name alone joins nobody; what does not belong is nowhere."""
    root, target = tmp_path / "data", tmp_path / "out"
    manifest = made(
        root,
        target,
        line(0, key="gone/a", parent="gone", task="Work"),
        line(1, key="root", begins="Go on", sequence_gaps=[{"before": 2, "missing": 1}]),
        line(2, key="root/a", parent="root", task="Go on"),
        line(3, task="By name alone"),
        line(4, key="good", begins="Fail", name="good"),
        line(5, key="good/a", parent="good", task="Fail", name="good", sequence_gaps=[{"before": 2, "missing": 1}]),
        formats=("atif",),
    )
    assert manifest.left_out == {"sequence_gaps": 2}
    assert [nested(each) for each in documents(target)] == [{f"sess_{n}": []} for n in (0, 2, 3, 4)]


def test_what_is_too_large_together_stands_alone(tmp_path: Path) -> None:
    root, target = tmp_path / "data", tmp_path / "out"
    lines = [line(0, key="r", begins="Task"), *(line(n, key=f"r/{n}", parent="r", task="Task") for n in (1, 2))]
    trio.run(put_sessions, root, lines)
    settings = ExportSettings(
        shard_bytes_max=500_000, row_group_bytes_max=5_000, family_bytes_max=longest_line(root) + 10
    )
    made(root, target, formats=("atif",), settings=settings, dedup="none")
    assert [nested(each) for each in documents(target)] == [{"sess_0": [{"sess_1": []}]}, {"sess_2": []}]


def longest_line(root: Path) -> int:
    """Bytes of the longest line of a corpus."""
    return max(len(text) for path in root.glob("corpus/*.jsonl") for text in path.read_bytes().splitlines())


def test_a_family_is_in_one_split_and_copies_are_found_within_it(tmp_path: Path) -> None:
    """A copy of what stands within a session is left out as of any other; also two that the same session began."""
    root, target = tmp_path / "data", tmp_path / "out"
    same = {**line(1, key="r/a", parent="r", task="Task")}
    copies = [
        {**same, "trajectory_id": f"traj_{n}", "session_id": f"copy_{n}", "contributor_id": f"{who:032x}"}
        for n, who in ((8, 1), (9, 2))
    ]
    manifest = made(
        root, target, line(0, key="r", begins="Task"), same, *copies, formats=("atif",), splits=(Split("train", 1.0),)
    )
    assert (manifest.kept, manifest.left_out) == (1, {"embedded": 1, "exact_copy": 2})
    halves = (Split("train", 0.5), Split("test", 0.5))
    crowd = [
        each
        for number in range(10, 40, 2)
        for each in (
            line(number, key=f"r{number}", begins=f"Task {number}", contributor=number),
            line(number + 1, key=f"r{number}/a", parent=f"r{number}", task=f"Task {number}", contributor=number),
        )
    ]
    manifest = made(root, tmp_path / "halves", *crowd, formats=("atif",), splits=halves)
    assert manifest.left_out["embedded"] == 16
    assert len({entry.split for entry in read_index(tmp_path / "halves")}) == 2


def test_what_comes_later_changes_no_file_and_what_goes_is_taken_out(tmp_path: Path) -> None:
    """A late sub-agent stands alone; of one that has gone, its parent is written anew without it."""
    root, target = tmp_path / "data", tmp_path / "out"
    made(root, target, line(0, key="r", begins="Task"), line(1, key="r/a", parent="r", task="Task"), line(2))
    before = contents(target)
    manifest = made(root, target, line(3, key="r/b", parent="r", task="Late"), is_incremental=True)
    after = contents(target)
    assert {name: after[name] for name in before if "/" in name and "README" not in name} == {
        name: text for name, text in before.items() if "/" in name and "README" not in name
    }
    assert (manifest.seen, manifest.kept, manifest.left_out) == (4, 3, {"embedded": 1})
    trio.run(take_back, root, 1)
    again = make(root, target, *FORMATS, shape=EMBED, is_incremental=True)
    assert list(verify_export(target)) == []
    assert again.taken_out == {"outdated": 1}
    assert (again.manifest.seen, again.manifest.kept, again.manifest.left_out) == (3, 3, {})
    assert b"sess_1" not in b"".join(contents(target).values())
    assert sorted(entry.session_id for entry in read_index(target)) == ["sess_0", "sess_2", "sess_3"]


def test_interrupted_and_gone_on_with_it_makes_the_same(tmp_path: Path) -> None:
    root = tmp_path / "data"
    lines = [
        each
        for number in range(0, 24, 2)
        for each in (
            line(number, key=f"r{number}/a", parent=f"r{number}", task=f"Task {number}"),
            line(number + 1, key=f"r{number}", begins=f"Task {number}"),
        )
    ]
    made(root, tmp_path / "whole", *lines, formats=("atif", "messages"))
    wanted = contents(tmp_path / "whole")
    for stop_at in (1, 5, 9):
        target = tmp_path / f"stopped{stop_at}"
        with pytest.raises(KeyboardInterrupt):
            make(root, target, "atif", "messages", shape=EMBED, report=stopping(stop_at))
        with open_plan(target / ".unfinished" / "plan.db") as plan:
            assert plan.state("is_joined") is not None
        made(root, target, formats=("atif", "messages"))
        assert contents(target) == wanted


def stopping(at: int) -> Callable[[Any], None]:
    """Reports until so many records are done."""

    def report(progress: Any) -> None:
        if progress.records >= at:
            raise KeyboardInterrupt

    return report


def test_some_by_chance_are_joined_among_themselves(tmp_path: Path) -> None:
    root = tmp_path / "data"
    lines = [
        each
        for number in range(0, 20, 2)
        for each in (
            line(number, key=f"r{number}", begins=f"Task {number}"),
            line(number + 1, key=f"r{number}/a", parent=f"r{number}", task=f"Task {number}"),
        )
    ]
    manifest = made(root, tmp_path / "out", *lines, formats=("atif",), sample=12)
    embedded = manifest.left_out["embedded"]
    assert manifest.kept + embedded == 12
    assert 0 < embedded <= 6


def test_lengths_and_families_are_not_asked_for_together(tmp_path: Path) -> None:
    root = tmp_path / "data"
    trio.run(put_sessions, root, [session(0)])
    with pytest.raises(ExportRefused, match="--subagents separate takes both"):
        make(root, tmp_path / "out", "atif", shape=EMBED, max_tokens=10, settings=SMALL)


HOSTILE: dict[str, list[dict[str, Any]]] = {
    "secrets": [said("The key is AKIAIOSFODNN7EXAMPLE, write to jane.doe@example.org")],
    "integers": [call("i", "Bash", n=10**30, m=-(2**63) - 1), result("i")],
    "surrogates": [said("half \ud83d and \x00 between")],
    "long": [said("word " * 1_000_000)],
    "cut": [{**call("k", "Write", json="head…tail"), "truncated": True}, result("k")],
    "no_calls": [done("Nothing to call.")],
    "parallel": [call("p", "Read", path="a"), call("q", "Read", path="b"), result("q", "b"), result("p", "a")],
    "no_result": [said("I begin."), call("n", "Bash", command="sleep")],
    "no_call": [result("nobody", "an answer to nothing"), said("Odd.")],
}


def test_whatever_stands_within_a_session_is_whole_or_left_out_and_counted(tmp_path: Path) -> None:
    """What makes readers stumble does so as little within a parent as alone, however deep."""
    root, target = tmp_path / "data", tmp_path / "out"
    names = list(HOSTILE)
    lines = []
    for number, name in enumerate(names):
        task, begins = (
            f"Do {name} of it",
            f"Do {names[number + 1]} of it" if number % 2 == 0 and number < 8 else "Of none",
        )
        own = line(number, key=f"r/{name}", parent="r", task=task, begins=begins)
        own["trajectory_log"] += [
            {"step": 90 + place, "timestamp": 1_795_169_530, **step} for place, step in enumerate(HOSTILE[name])
        ]
        lines.append(own)
    top = line(20, key="r")
    tasks = [call(f"t{n}", "Task", prompt=f"Do {name} of it") for n, name in enumerate(names) if n % 2 == 0]
    top["trajectory_log"][2:2] = [{"step": 70 + n, "timestamp": 1_795_169_530, **each} for n, each in enumerate(tasks)]
    trio.run(put_sessions, root, [json.dumps(each).encode() for each in (*lines, top)])
    formats = ("atif", "messages", "jsonl", "otel", "traces", "sharegpt", "openai")
    manifest = made(root, target, formats=formats, settings=ExportSettings())
    assert (manifest.seen, manifest.kept) == (10, 2)  # what "cut" began stands alone
    assert manifest.left_out == {"cut_arguments": 1, "embedded": 7}
    assert manifest.facts.mended_numbers == 2
    assert manifest.facts.findings["[EMAIL]"] == 1
    texts = b"".join(contents(target).values())
    assert b"AKIAIOSFODNN7EXAMPLE" not in texts
    assert b"jane.doe" not in texts
    assert b"\\ud83d" not in texts
    whole = [list(walked(each)) for each in documents(target)]
    assert sorted(map(len, whole)) == [1, 8]
    for document in [each for found in whole for each in found]:
        within = {each["trajectory_id"] for each in document.get("subagent_trajectories", [])}
        results = [each for step in document["steps"] for each in step.get("observation", {}).get("results", [])]
        referred = [each["trajectory_id"] for found in results for each in found.get("subagent_trajectory_ref", [])]
        assert set(referred) <= within
        assert len(referred) == len(set(referred)) >= len(within) - 4  # those of whom no call is known
    parents = {row["parent_session_id"] for row in rows(target, "messages")}
    assert parents == {None, "sess_20", "sess_0", "sess_2", "sess_6"}


def walked(document: Any) -> Any:
    """A document and all that are within it."""
    yield document
    for each in document.get("subagent_trajectories", []):
        yield from walked(each)

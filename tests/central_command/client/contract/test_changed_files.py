"""Which files a call changes, by the tools of every agent; what did not go well changed none."""

from typing import Any

import pytest

from central_command.client.contract.changed_files import changed_files
from central_command.client.contract.outcome import Ending
from central_command.client.contract.steps import StepList

PATCH = (
    "*** Begin Patch\n*** Update File: a.py\n@@\n-teh\n+the\n*** Add File: src/b.py\n+x\n*** Delete File: c.py\n"
    "*** End Patch\n"
)
MOVED = "*** Begin Patch\n*** Update File: a.py\n*** Move to: z.py\n@@\n-x\n+y\n*** End Patch"
QUOTED = "*** Begin Patch\n*** Update File: doc.md\n@@\n *** Update File: no.py\n+*** Add File: no2.py\n*** End Patch"
HEREDOC = f"cd /w && apply_patch <<'EOF'\n{PATCH}EOF\n"
PROGRAM = 'const r = await tools.apply_patch("*** Begin Patch\\n*** Update File: a.py\\n@@\\n-x\\n+y\\n*** End Patch");'
LINES = 'tools.apply_patch(["*** Begin Patch", "*** Update File: a.py", "@@", "-x", "+y", "*** End Patch"].join("\\n"))'


@pytest.mark.parametrize(
    ("tool", "arguments", "files"),
    [
        ("Edit", {"file_path": "/w/a.py", "old_string": "x"}, {"/w/a.py"}),
        ("MultiEdit", {"file_path": "/w/a.py", "edits": []}, {"/w/a.py"}),
        ("Write", {"file_path": "/w/a.py", "content": PATCH}, {"/w/a.py"}),
        ("NotebookEdit", {"notebook_path": "/w/a.ipynb"}, {"/w/a.ipynb"}),
        ("replace", {"file_path": "/w/a.py", "old_string": "x", "new_string": "y"}, {"/w/a.py"}),
        ("write_file", {"file_path": "./a.py", "content": "x"}, {"a.py"}),
        ("notebook_edit", {"notebook_path": "/w/a.ipynb"}, {"/w/a.ipynb"}),
        ("multiedit", {"filePath": "/w/a.py", "edits": []}, {"/w/a.py"}),
        ("developer__write", {"path": "/w/a.py", "content": "x"}, {"/w/a.py"}),
        ("ApplyPatch", {"input": PATCH}, {"a.py", "src/b.py", "c.py"}),
        ("patch", {"patchText": PATCH}, {"a.py", "src/b.py", "c.py"}),
        ("apply_patch", {"input": PATCH}, {"a.py", "src/b.py", "c.py"}),
        ("apply_patch", {"patch": PATCH.replace("\n", "\r\n"), "workdir": "/w"}, {"/w/a.py", "/w/src/b.py", "/w/c.py"}),
        ("apply_patch", {"input": MOVED}, {"a.py"}),
        ("apply_patch", {"input": QUOTED}, {"doc.md"}),
        ("shell", {"command": ["apply_patch", PATCH]}, {"a.py", "src/b.py", "c.py"}),
        ("shell", {"command": ["bash", "-lc", HEREDOC]}, {"a.py", "src/b.py", "c.py"}),
        ("local_shell", {"type": "exec", "command": ["bash", "-lc", HEREDOC]}, {"a.py", "src/b.py", "c.py"}),
        ("shell_command", {"command": HEREDOC, "workdir": "/w"}, {"/w/a.py", "/w/src/b.py", "/w/c.py"}),
        ("exec_command", {"cmd": HEREDOC}, {"a.py", "src/b.py", "c.py"}),
        ("command_execution", {"command": f"/bin/bash -lc '{HEREDOC}'"}, {"a.py", "src/b.py", "c.py"}),
        ("exec", {"input": PROGRAM}, {"a.py"}),
        ("exec", {"input": f"await tools.apply_patch(`{PATCH}`)"}, {"a.py", "src/b.py", "c.py"}),
        ("exec", {"input": LINES}, {"a.py"}),
        ("file_change", {"changes": [{"path": "/w/a.py", "kind": "add"}, {"path": "/w/b.py"}]}, {"/w/a.py", "/w/b.py"}),
        ("file_change", {"changes": {"/w/a.py": {"add": {}}}}, {"/w/a.py"}),
        ("Read", {"file_path": "/w/a.py"}, set()),
        ("read_file", {"absolute_path": "/w/a.py"}, set()),
        ("exec_command", {"cmd": f"cat <<EOF\n{PATCH}EOF"}, set()),
        ("exec_command", {"cmd": "git log --grep apply_patch"}, set()),
        ("apply_patch", {"input": "no patch"}, set()),
        ("Edit", {"file_path": 1}, set()),
        ("Edit", {}, set()),
        ("file_change", {"changes": [{"path": None}, 1]}, set()),
        ("shell", {"command": None}, set()),
    ],
)
def test_files_are_those_that_the_call_names(tool: str, arguments: dict[str, Any], files: set[str]) -> None:
    """By the members of the tool's own arguments, or the heads of a patch's parts."""
    assert changed_files(tool, arguments) == files


def files_of(*calls: tuple[str, dict[str, Any], bool | None]) -> int:
    """How many files calls changed, each with what became of it: well, badly, or not known."""
    steps, ending = StepList(), Ending()
    for number, (tool, arguments, went_well) in enumerate(calls):
        steps.add_action(1.0, tool, arguments, f"c{number}")
        if went_well is not None:
            steps.add("observation" if went_well else "error", 1.0, "x", tool=tool, call_id=f"c{number}")
    steps.take_time(1.0)
    for step in steps.finish():
        ending.take(step)
    return ending.outcome(chunks=1).files_modified


def test_a_file_counts_once_however_often_it_was_changed() -> None:
    """By whichever tool."""
    assert files_of(("Edit", {"file_path": "a.py"}, True), ("apply_patch", {"input": PATCH}, True)) == 3
    assert files_of(("write_file", {"file_path": "a.py"}, True), ("replace", {"file_path": "./a.py"}, True)) == 1
    patch = ("apply_patch", {"input": PATCH}, True)
    assert files_of(patch, ("exec_command", {"cmd": HEREDOC, "workdir": "/w"}, True)) == 3
    assert files_of(patch, ("Edit", {"file_path": "/w/a.py"}, True), ("Edit", {"file_path": "/w/src/a.py"}, True)) == 4


def test_calls_that_did_not_go_well_changed_nothing() -> None:
    """An error, or no result at all; trying again does."""
    failed = ("apply_patch", {"input": PATCH}, False)
    assert files_of(failed, ("write_file", {"file_path": "a.py"}, None)) == 0
    assert files_of(failed, ("apply_patch", {"input": PATCH}, True)) == 3


def test_messages_between_agents_are_counted() -> None:
    """As the coordination that they are."""
    steps, ending = StepList(), Ending()
    steps.add("coordination", 1.0, "look here", source="agent")
    steps.take_time(1.0)
    for step in steps.finish():
        ending.take(step)
    assert ending.outcome(chunks=1).coordination_events == 1

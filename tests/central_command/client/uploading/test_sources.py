"""Files, folders and globs: what each means, once and in order; and what cannot be read is said in a sentence."""

import os
import zipfile
from pathlib import Path

import pytest

from central_command.client.uploading import sources
from central_command.client.uploading.sources import (
    FileError,
    Found,
    NoSessionError,
    NoStepsError,
    SourceError,
    files_below,
    find_files,
)
from central_command.client.uploading.survey import survey
from tests.central_command.client.transcripts.claude_code_events import lines, said, user


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Session files at several depths, among others."""
    for name in ("b.jsonl", "a.json", "notes.md", "deep/er/c.jsonl", ".hidden/d.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    return tmp_path


def found(tree: Path, *names: str) -> list[tuple[str, bool]]:
    return [(str(each.path.relative_to(tree)), each.named) for each in find_files([str(tree / name) for name in names])]


def test_a_folder_means_every_json_and_jsonl_file_in_and_below_it(tree: Path) -> None:
    """Hidden folders too, which is where agents keep them; other files are left out."""
    assert found(tree, "") == [
        ("a.json", False),
        ("b.jsonl", False),
        (".hidden/d.jsonl", False),
        ("deep/er/c.jsonl", False),
    ]


def test_a_file_is_taken_whatever_its_name(tree: Path) -> None:
    """And once, however often it is meant; being named outweighs being found."""
    assert found(tree, "notes.md") == [("notes.md", True)]
    assert found(tree, "deep", "deep/er/c.jsonl", "deep") == [("deep/er/c.jsonl", True)]


def test_a_link_to_the_same_file_is_the_same_file(tree: Path) -> None:
    """A link to a folder is not followed, so a loop does no harm."""
    (tree / "z.jsonl").symlink_to(tree / "b.jsonl")
    (tree / "deep" / "loop").symlink_to(tree)
    assert len(found(tree, "")) == 4


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jsonl", ["b.jsonl"]),
        ("**/*.jsonl", ["b.jsonl", "deep/er/c.jsonl"]),
        ("d[aeiou]ep", ["deep/er/c.jsonl"]),
        ("?.json", ["a.json"]),
    ],
)
def test_a_glob_means_what_it_matches(tree: Path, pattern: str, names: list[str]) -> None:
    """`**` is any depth; a folder that it matches is searched."""
    assert found(tree, pattern) == [(name, False) for name in names]


def test_a_name_with_a_bracket_that_exists_is_no_glob(tree: Path) -> None:
    """The file itself is meant."""
    (tree / "x[1].jsonl").write_text("{}")
    assert found(tree, "x[1].jsonl") == [("x[1].jsonl", True)]


def test_what_means_nothing_is_said(tree: Path) -> None:
    """With the name."""
    with pytest.raises(SourceError, match="does not exist"):
        find_files([str(tree / "gone.jsonl")])
    with pytest.raises(SourceError, match="No file matches"):
        find_files([str(tree / "*.nothing")])


def test_what_has_the_name_of_a_session_and_is_no_file_is_found_and_refused(tree: Path) -> None:
    """So that it is said; a link that leads nowhere or to itself, too."""
    os.mkfifo(tree / "deep" / "fifo.jsonl")
    (tree / "deep" / "loop.jsonl").symlink_to("loop.jsonl")
    (tree / "deep" / "gone.jsonl").symlink_to("nowhere")
    names = ["deep/fifo.jsonl", "deep/gone.jsonl", "deep/loop.jsonl"]
    assert found(tree, "deep") == [(name, False) for name in names] + [("deep/er/c.jsonl", False)]
    assert found(tree, *names) == [(name, True) for name in names]
    for name, problem in zip(
        names, ("a FIFO stands", "it is a link that leads nowhere", "Too many levels"), strict=True
    ):
        with pytest.raises(FileError, match=f"cannot be read: {problem}"):
            survey(tree / name, None)


def test_a_folder_that_cannot_be_searched_is_found_with_its_problem(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whoever asks for its path hears why there is none."""
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scandir(path / "nothing"))
    (closed,) = find_files([str(tree)])
    with pytest.raises(FileError, match="it cannot be searched: No such file"):
        closed.checked()
    assert Found(tree, named=True).checked() == tree


def test_the_number_of_files_is_bounded(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused."""
    monkeypatch.setattr(sources, "FILES_MAX", 4)
    assert len(find_files([str(tree)])) == 4
    monkeypatch.setattr(sources, "FILES_MAX", 3)
    with pytest.raises(SourceError, match="More than 3 files"):
        find_files([str(tree)])


def test_the_agent_is_found_or_given(transcripts: Path, tmp_path: Path) -> None:
    """A file without an agent's events is no session, unless someone says whose it is; then it has no steps."""
    assert survey(transcripts / "short.jsonl", None).transcript.provider == "claude-code"
    path = tmp_path / "x.json"
    path.write_text('{"name": "x"}')
    with pytest.raises(NoSessionError, match="--provider says whose file it is"):
        survey(path, None)
    (tmp_path / "random.jsonl").write_bytes(bytes(range(200)) * 9)
    with pytest.raises(NoSessionError, match=r"no steps to upload: .*[^;]\.\Z") as raised:
        survey(tmp_path / "random.jsonl", None)
    assert "--provider" not in str(raised.value)
    with pytest.raises(NoSessionError, match="holds no steps of a claude-code session"):
        survey(path, "claude-code")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            b'{"type":"user","sessionId":"s"}\n{"type":"user"\n}\n',
            r"\(2 of its lines are no JSON objects, or too large",
        ),
        (
            b'{\n "sessionId": "s",\n "projectHash": "p",\n "messages": [\n  {"id": "m",\n',
            "is cut off, or is still being",
        ),
    ],
    ids=["damaged lines", "a text that is cut off"],
)
def test_a_session_of_which_nothing_can_be_read_misses_something(text: bytes, why: str, tmp_path: Path) -> None:
    """It is a failure of a folder, too; one that holds no steps, and all of it, is none."""
    (tmp_path / "s.json").write_bytes(text)
    with pytest.raises(NoSessionError, match=why) as caught:
        survey(tmp_path / "s.json", None)
    assert not isinstance(caught.value, NoStepsError)
    (tmp_path / "s.json").write_bytes(b'{"type":"user","sessionId":"s"}\n')
    with pytest.raises(NoStepsError, match=r"the file holds no steps of a claude-code session\.$"):
        survey(tmp_path / "s.json", None)


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, a folder, too large."""
    with pytest.raises(FileError, match="cannot be read: No such file"):
        survey(tmp_path / "gone", None)
    with pytest.raises(FileError, match="cannot be read: Is a directory"):
        survey(tmp_path, None)
    monkeypatch.setattr(sources, "FILE_BYTES_MAX", 1)
    (tmp_path / "big.jsonl").write_text("{}")
    with pytest.raises(FileError, match="larger than"):
        survey(tmp_path / "big.jsonl", None)


def test_an_archive_stands_for_what_is_in_it(tree: Path) -> None:
    """Named or found in a folder; what cannot be read of it is found with its problem."""
    with zipfile.ZipFile(tree / "deep" / "old.ZIP", "w") as archive:
        for name in ("x/s.jsonl", "x/t.JSON.gz", "notes.txt", "../up.jsonl", "inner.zip"):
            archive.writestr(name, "{}")
    for named in ("deep/old.ZIP", "deep/*.ZIP"):
        each = find_files([str(tree / named)])
        assert [str(one.path.relative_to(tree / "deep" / "old.ZIP")) for one in each] == [
            *("../up.jsonl", "inner.zip", "x/s.jsonl", "x/t.JSON.gz")
        ]
        assert [one.problem is None for one in each] == [False, False, True, True]
    assert len(find_files([str(tree / "deep")])) == 5


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_what_holds_no_session_file_is_said_to(kind: str, tmp_path: Path) -> None:
    """Once, and it is a failure."""
    where = tmp_path / "in.zip" if kind == "archive" else tmp_path / "in"
    if kind == "archive":
        with zipfile.ZipFile(where, "w") as archive:
            archive.writestr("readme.txt", "no")
    else:
        where.mkdir()
        (where / "readme.txt").write_text("no")
    (found,) = find_files([str(where)])
    with pytest.raises(FileError, match=f"the {kind} holds no session file"):
        found.checked()


@pytest.mark.parametrize(
    "name",
    [
        *("sessions-index.json", "projects/p/agent-1.meta.json", "history.jsonl", "stats-cache.json"),
        *("tasks/one/1.json", "teams/t/inboxes/a.json", "plugins/known.json", "sessions/4711.json"),
        *(".codex/of-a-later-version.json", ".claude/daemon/roster.json", "p/tool-results/mcp.jsonl"),
    ],
)
def test_what_agents_keep_beside_sessions_is_no_failure_of_a_folder(name: str, tmp_path: Path) -> None:
    """Where it holds none: a file of that name is a session if it is one, wherever it lies."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"version": 1}\n')
    with pytest.raises(NoStepsError, match=r"kept beside sessions\.$"):
        survey(Found(path, named=False).checked(), None)
    path.write_bytes(lines(user("go"), said("gone")))
    assert len(survey(Found(path, named=False).checked(), None).times) == 2


@pytest.mark.parametrize(
    "name",
    ["tasks/broken.jsonl", "x.json", ".codex/sessions/2025/rollout-1.json", ".gemini/tmp/p/chats/session-1.json"],
)
def test_a_session_file_that_cannot_be_read_is_a_failure(name: str, tmp_path: Path) -> None:
    """Wherever sessions may lie."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"version": 1}\n')
    with pytest.raises(NoSessionError, match="is no session file of") as caught:
        survey(path, None)
    assert not isinstance(caught.value, NoStepsError)


@pytest.mark.parametrize("name", [".credentials.json", "auth.json", "oauth_creds.json", "._a.jsonl"])
def test_credentials_are_not_opened(name: str, tree: Path) -> None:
    """Nor is what macOS adds; the same named itself is read."""
    with pytest.raises(NoStepsError, match="it is not opened"):
        Found(tree / name, named=False).checked()
    assert Found(tree / name, named=True).checked() == tree / name


def test_credentials_are_not_followed(tree: Path) -> None:
    """By `watch`, which opens whatever it finds."""
    (tree / "deep" / "auth.json").write_text("{}")
    assert sorted(path.name for path in files_below(tree)) == ["a.json", "b.jsonl", "c.jsonl", "d.jsonl"]


def test_another_agents_file_is_refused_whatever_is_said_of_it(tmp_path: Path) -> None:
    """`--provider` does not make it Claude Code's."""
    path = tmp_path / "s.jsonl"
    path.write_text('{"type":"runtime-config","reasoningEffort":"high"}\n')
    for provider in (None, "claude-code", "qwen-code"):
        with pytest.raises(NoSessionError, match=r"Qoder wrote it, and what is read is .*qwen-code\.$"):
            survey(path, provider)


def test_a_file_of_an_agent_that_is_read_is_no_others(tmp_path: Path) -> None:
    """`--provider` does not make Qwen Code's stream Claude Code's."""
    path = tmp_path / "s.jsonl"
    path.write_text('{"type":"system","subtype":"init","qwen_code_version":"1"}\n')
    for provider in ("claude-code", "cursor"):
        with pytest.raises(NoSessionError, match=r"the file is of qwen-code, whatever --provider says\.$"):
            survey(path, provider)


def test_found_is_comparable() -> None:
    """Frozen, so it can be kept."""
    assert Found(Path("x"), named=True) == Found(Path("x"), named=True)


def test_files_of_sub_agents_come_last(tmp_path: Path) -> None:
    """Whatever they have from their parent's history is the parent's."""
    for name in ("agent-a1.jsonl", "b.jsonl", "a/subagents/x.jsonl", "c/d.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [name for name, _ in found(tmp_path, "")] == [
        "b.jsonl",
        "c/d.jsonl",
        "agent-a1.jsonl",
        "a/subagents/x.jsonl",
    ]

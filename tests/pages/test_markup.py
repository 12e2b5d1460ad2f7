"""What people and agents wrote is shown as what it is: readable, and inert, wherever in a step it stands."""

import functools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from central_command.markup.ansi import coloured
from central_command.markup.code import CODE_CHARS_MAX, highlighted, language_of
from central_command.markup.diffs import LINES_MAX, Comparing, Line, patch
from central_command.markup.folding import folded
from central_command.markup.markdown import MARKDOWN_CHARS_MAX, marked_down
from central_command.markup.steps import Renderer, StepText
from central_command.markup.visible import visible
from tests.pages.attacks import ATTACKS, word
from tests.pages.inert import read_html

DEEP: Any = functools.reduce(lambda inner, _: [inner], range(50), ["deep"])

PLACES: dict[str, Callable[[str], StepText]] = {
    "prompt": lambda text: StepText(type="instruction", text=text),
    "thought": lambda text: StepText(type="thought", text=text),
    "result": lambda text: StepText(type="observation", text=text),
    "error": lambda text: StepText(type="error", text=text),
    "json result": lambda text: StepText(type="observation", text=json.dumps({"x": [text]})),
    "argument": lambda text: StepText(type="action", tool="Grep", arguments={"pattern": text}),
    "argument name": lambda text: StepText(type="action", tool="Grep", arguments={text: [1]}),
    "deep argument": lambda text: StepText(type="action", tool="T", arguments={"a": [{"b": {"c": [text]}}]}),
    "text arguments": lambda text: StepText(type="action", tool="T", arguments=text),
    "file name": lambda text: StepText(type="action", tool="Read", arguments={"file_path": text}),
    "command": lambda text: StepText(type="action", tool="Bash", arguments={"command": text}),
    "code": lambda text: StepText(type="action", tool="run", arguments={"code": text, "language": text}),
    "old": lambda text: StepText(type="action", tool="Edit", arguments={"old_string": text, "new_string": "b"}),
    "new": lambda text: StepText(type="action", tool="Edit", arguments={"old_string": "a", "new_string": text}),
    "edits": lambda text: StepText(
        type="action", tool="MultiEdit", arguments={"edits": [{"old_string": text, "new_string": text}]}
    ),
    "whole file": lambda text: StepText(type="action", tool="Write", arguments={"content": text}),
    "patch": lambda text: StepText(type="action", tool="apply_patch", arguments={"input": f"*** Begin Patch\n+{text}"}),
    "label": lambda text: StepText(type="action", tool="Bash", text=text, arguments={"command": "ls"}),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_attack_becomes_anything_but_text(place: str) -> None:
    for number, attack in enumerate(ATTACKS):
        html = Renderer().body(PLACES[place](attack))
        wrong, text = read_html(html)
        assert wrong == [], f"{attack!r} as {place}: {html}"
        if place != "edits":
            assert word(number) in text, f"{attack!r} as {place}: {html}"


@pytest.mark.parametrize("place", PLACES)
def test_a_page_that_has_no_room_for_more_shows_attacks_as_plain_text(place: str) -> None:
    for attack in ATTACKS:
        wrong, _ = read_html(Renderer(rich_chars_max=0).body(PLACES[place](attack)))
        assert wrong == [], f"{attack!r} as {place}"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 30_000,
        "![](" * 8_000,
        "*a_b " * 6_000,
        "`" * 30_000,
        "<" * 30_000,
        "> " * 15_000 + "a",
        "* " * 15_000,
        "[a](" * 7_000,
        "[a]: b\n" * 4_000,
        "| a " * 7_000 + "\n" + "|---" * 7_000,
        "a\n" * 15_000,
        "&amp;" * 6_000,
        "\\*" * 15_000,
        "~~a" * 10_000,
    ],
    ids=lambda text: text[:8],
)
def test_markdown_of_any_kind_takes_a_bounded_time(text: str) -> None:
    began = time.process_time()
    marked_down(text[:MARKDOWN_CHARS_MAX])
    assert time.process_time() - began < 2.0


def test_markdown_is_read() -> None:
    html = marked_down(
        "# Title\n\nA **bold** word, `code`, [a link](https://example.com/a?b=1&c=2)\n\n| a | b |\n|---|--:|\n| 1 | 2 |"
    )
    assert "<h1>Title</h1>" in html
    assert "<strong>bold</strong>" in html
    assert 'href="https://example.com/a?b=1&amp;c=2"' in html
    assert "<td>1</td>" in html


def test_nothing_of_a_text_is_left_out_by_its_form() -> None:
    for text in (
        "[//]: # (hidden)",
        "[r]: https://a.example 'hidden'",
        "```python hidden\nx\n```",
        "> " * 99 + "hidden",
    ):
        assert "hidden" in read_html(marked_down(text))[1]
    assert "⟦U+202E⟧" in marked_down("&#x202e;gpj")


def test_an_image_is_a_link_or_text() -> None:
    html = marked_down("![a chart](https://example.com/chart.png)")
    assert "<img" not in html
    assert ">a chart</a>" in html


def test_code_of_a_fence_is_coloured_by_its_language() -> None:
    assert '<span class="h-k">def</span>' in marked_down("```python\ndef f(): pass\n```")
    assert "<span" not in marked_down("```brainfuck\n+++\n```")


def test_long_code_is_shown_plain() -> None:
    assert "<span" not in highlighted("x = 1\n" * CODE_CHARS_MAX, "python")
    assert "<span" not in highlighted("x = 1;" * 1_000, "python")
    assert "<span" in highlighted("x = 1", "python")


@pytest.mark.parametrize(
    ("line", "language"), [("\n", "cpp"), ("a\n", "csharp"), ("a b\n", "java"), ("\t\n", "c"), (" \n", "python")]
)
def test_code_that_takes_a_lexer_too_long_is_shown_as_it_is(line: str, language: str) -> None:
    code = (line * CODE_CHARS_MAX)[:CODE_CHARS_MAX]
    began_s = time.thread_time()
    assert "<span" not in highlighted(code, language)
    assert time.thread_time() - began_s < 2, "of the square of its length it would be 3 to 45 s"


@pytest.mark.parametrize(
    ("path", "language"),
    [("a/b.py", "python"), ("C:\\x\\y.TSX", "typescript"), ("Makefile", "make"), ("x.unknown", ""), ("", "")],
)
def test_a_files_name_tells_its_language(path: str, language: str) -> None:
    assert language_of(path) == language


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("\x1b[31mred\x1b[0m", '<span class="t-fg-1">red</span>'),
        ("\x1b[1;92;44mx", '<span class="t-bold t-fg-10 t-bg-4">x</span>'),
        ("\x1b[1mx\x1b[22my", '<span class="t-bold">x</span>y'),
        ("\x1b[38;5;196mx", '<span class="t-fg-9">x</span>'),
        ("\x1b[38;2;0;0;130mx", '<span class="t-fg-4">x</span>'),
        ("\x1b[38;5mx", "x"),
        ("\x1b[mx", "x"),
        ("\x1b[999mx", "x"),
        ("\x1b[31m<b>", '<span class="t-fg-1">&lt;b&gt;</span>'),
        ("\x1b[2Jx", "␛[2Jx"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("50%\r100%", "50%␍100%"),
        ("a\r\nb", "a\nb"),
    ],
)
def test_colours_become_classes_and_other_escapes_are_seen(text: str, html: str) -> None:
    assert coloured(text) == html


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b", "a␀b"),
        ("\u202egpj.exe", "⟦U+202E⟧gpj.exe"),
        ("\u200b", "⟦U+200B⟧"),
        ("\ud800", "\ufffd"),
        ("日本語 العربية 👩\u200d💻", "日本語 العربية 👩\u200d💻"),
        ("tab\tline\n", "tab\tline\n"),
    ],
)
def test_what_is_hidden_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_difference_has_what_goes_and_what_comes() -> None:
    lines = Comparing().difference("a\nb\nc\n", "a\nB\nc\n")
    assert lines == [
        Line("place", "@@ -1,3 +1,3 @@"),
        Line("same", "a"),
        Line("removed", "b"),
        Line("added", "B"),
        Line("same", "c"),
    ]


def test_lines_that_look_like_a_header_are_lines() -> None:
    kinds = [(line.kind, line.text) for line in Comparing().difference("-- a\n", "++ b\n")]
    assert ("removed", "-- a") in kinds
    assert ("added", "++ b") in kinds


def test_long_texts_are_not_compared() -> None:
    lines = Comparing().difference("a\n" * LINES_MAX, "b\n" * LINES_MAX)
    assert [line.kind for line in lines] == ["removed"] * LINES_MAX + ["added"] * LINES_MAX


def test_edits_that_take_too_long_to_be_compared_are_shown_whole() -> None:
    some = {"old_string": "a\n" * 199, "new_string": "".join(f"a{n}\na\n" for n in range(100))}
    began_s = time.thread_time()
    html = Renderer().body(StepText(type="action", tool="MultiEdit", arguments={"edits": [some] * 60}))
    assert time.thread_time() - began_s < 3, "all of them compared take 12 s"
    assert html.count("d-removed") > 500


def test_a_patch_is_shown_as_it_is() -> None:
    found = patch("*** Begin Patch\n*** Update File: a.py\n@@ def f():\n-a\n+b\n c\n*** End Patch")
    assert [line.kind for line in found] == ["place", "place", "place", "removed", "added", "same", "place"]


def shown(tool: str, **arguments: Any) -> str:
    return read_html(Renderer().body(StepText(type="action", tool=tool, text=f"Using {tool}", arguments=arguments)))[1]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("Edit", {"file_path": "a.py", "old_string": "x = 1", "new_string": "x = 2"}),
        ("str_replace_editor", {"command": "str_replace", "path": "a.py", "old_str": "x = 1", "new_str": "x = 2"}),
        ("MultiEdit", {"file_path": "a.py", "edits": [{"old_string": "x = 1", "new_string": "x = 2"}]}),
        ("apply_patch", {"path": "a.py", "input": "*** Begin Patch\n@@\n-x = 1\n+x = 2\n*** End Patch"}),
        ("shell", {"path": "a.py", "command": ["apply_patch", "*** Begin Patch\n-x = 1\n+x = 2"]}),
    ],
)
def test_edits_of_every_agent_are_differences(tool: str, arguments: dict[str, Any]) -> None:
    text = shown(tool, **arguments)
    assert "-x = 1" in text
    assert "+x = 2" in text
    assert "a.py" in text
    assert "old_str" not in text


def test_a_file_that_is_written_is_all_new() -> None:
    assert "+a\n+b" in shown("Write", file_path="n.txt", content="a\nb\n")
    assert "+a\n+b" in shown("str_replace_editor", command="create", path="n.txt", file_text="a\nb\n")


def test_a_command_is_shown_as_one_and_the_rest_folded() -> None:
    text = shown("Bash", command="make test && echo done", timeout=5, description="Run the tests")
    assert "make test && echo done" in text
    assert "Run the tests" in text
    assert "Using Bash" not in text
    assert "make it" in shown("shell", command=["bash", "-lc", "make it"])


def test_json_is_folded_and_letters_are_letters() -> None:
    wrong, text = read_html(
        Renderer().body(StepText(type="observation", text='{"name": "\\u65e5\\u672c", "n": [1, 2]}'))
    )
    assert wrong == []
    assert "日本" in text
    assert "\\u" not in text


@pytest.mark.parametrize("value", [DEEP, list(range(5_000)), {"a": None, "b": True}, {}, []])
def test_any_value_can_be_folded(value: object) -> None:
    wrong, _ = read_html(folded(value))
    assert wrong == []
    assert len(folded(value)) < 200_000


@pytest.mark.parametrize(
    "arguments", [None, 1, [1], "text", {"edits": [1]}, {"edits": []}, {"command": [1, 2]}, {"code": 1}]
)
def test_arguments_of_any_kind_are_shown(arguments: object) -> None:
    assert read_html(Renderer().body(StepText(type="action", tool="T", arguments=arguments)))[0] == []

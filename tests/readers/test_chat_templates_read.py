"""Chat templates of real models render our rows: nothing raises, each result is there once, nothing is encoded twice.

The templates are those that TRL ships (Apache-2.0), rendered by transformers, without torch.
"""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from central_command.corpus.trajectory import Trajectory
from central_command.exporting.chat import chat_of
from central_command.exporting.conversation import read_conversation
from central_command.exporting.formats import messages, openai
from central_command.exporting.reasons import LeftOut
from central_command.exporting.shape import Row, Shape
from tests.central_command.exporting.sessions import asked, call, result, said, thinking, trajectory
from tests.readers.conftest import UNPACKED
from tests.readers.marked import generated, sessions, with_a_system_message

TEMPLATES = UNPACKED / "trl" / "chat_templates"
FOLDED = Shape(system="fold")
SPLIT = Shape(system="fold", split_parallel_calls=True)
HARMONY = Shape(system="fold", split_parallel_calls=True, reasoning_key="thinking")
SHAPES = {
    "qwen2_5": FOLDED,
    "qwen3": FOLDED,
    "qwen3_training": FOLDED,
    "qwen3_5_think": FOLDED,
    "qwen3_6": FOLDED,
    "qwen3_6_training": FOLDED,
    "qwen3_8": FOLDED,
    "glm4moe": FOLDED,
    "nemotron_3_nano": FOLDED,
    "nemotron_3_super": FOLDED,
    "nemotron_3_ultra": FOLDED,
    "deepseekv3_training": FOLDED,
    "lfm2_2_5_v2": FOLDED,
    "gemma4_v5": FOLDED,
    "llama3_1": SPLIT,
    "llama3_2": SPLIT,
    "gptoss": HARMONY,
    "gptoss_training": HARMONY,
}
SESSIONS = sessions()


def rendered(template: str, row: Row) -> str:
    text = (TEMPLATES / f"{template}.jinja").read_text("utf-8")
    tools: Any = row.get("tools")
    (said,), _ = render_jinja_template([row["messages"]], tools=tools or None, chat_template=text)
    return str(said)


def marks_of_calls(session: Trajectory, shape: Shape) -> Iterator[str]:
    for each in chat_of(read_conversation(session), shape).calls:
        if each.result is not None and each.result.step.content:
            yield each.result.step.content
        yield from (value for value in each.arguments.values() if isinstance(value, str))


@pytest.mark.parametrize("template", SHAPES)
def test_every_session_renders_with_each_result_once(template: str) -> None:
    shape, count = SHAPES[template], 0
    for name, session in SESSIONS.items():
        try:
            (row,) = messages.rows(session, shape)
        except LeftOut:
            continue
        text, count = rendered(template, row), count + 1
        for mark in marks_of_calls(session, shape):
            assert text.count(mark) == 1, (name, mark)
        assert '\\"' not in text.replace('\\"[', ""), (name, "encoded twice")
    assert count > 25


def test_generated_sessions_render_each_with_one_of_the_templates() -> None:
    count = 0
    for session, template in zip(generated(3_000), cycle(SHAPES), strict=False):
        shape = SHAPES[template]
        try:
            (row,) = messages.rows(session, shape)
        except LeftOut:
            continue
        text, count = rendered(template, row), count + 1
        for mark in marks_of_calls(session, shape):
            assert text.count(mark) == 1, (template, session, mark)
    assert count > 1_200


@pytest.mark.parametrize(
    "template", ["qwen3_training", "qwen3_6_training", "nemotron_3_nano_training", "gptoss_training"]
)
def test_reasoning_is_where_the_template_looks_for_it(template: str) -> None:
    """gpt-oss keeps it up to the last answer alone, and takes no words beside it: there they are part of it."""
    shape = HARMONY if template.startswith("gptoss") else FOLDED
    session = trajectory(asked(), thinking("[reasoning]"), said("[words]"), call("a", command="ls"), result("a"))
    (row,) = messages.rows(session, shape)
    text = rendered(template, row)
    assert text.count("[reasoning]") == text.count("[words]") == 1


def test_texts_as_arguments_are_for_templates_that_want_them_so() -> None:
    """DeepSeek-V3's own template takes text alone: the rows of `openai` have it."""
    read = 0
    for session in SESSIONS.values():
        try:
            (row,) = openai.rows(session, FOLDED)
        except LeftOut:
            continue
        read += 1
        text = rendered("deepseekv3", row)
        for message in chat_of(read_conversation(session), FOLDED).messages[: len(list(row["messages"]))]:  # type: ignore[call-overload]
            if message.call is not None and message.content:
                assert text.count(message.content) == 1
    assert read > 1


@pytest.mark.parametrize("template", ["qwen3_5_think", "qwen3_6"])
def test_a_system_message_in_the_middle_needs_to_be_folded(template: str) -> None:
    (kept,) = messages.rows(with_a_system_message(), Shape())
    (folded,) = messages.rows(with_a_system_message(), FOLDED)
    with pytest.raises(Exception, match="System message must be at the beginning"):
        rendered(template, kept)
    assert "p\n\nr" in rendered(template, folded)


@pytest.mark.parametrize("template", ["llama3_1", "gptoss"])
def test_parallel_calls_need_to_be_split(template: str) -> None:
    session = SESSIONS["whole"]
    (row,) = messages.rows(session, FOLDED if template == "llama3_1" else HARMONY)
    if template == "llama3_1":
        with pytest.raises(Exception, match="single tool-calls"):
            rendered(template, row)
    (split,) = messages.rows(session, SHAPES[template])
    assert all(mark in rendered(template, split) for mark in marks_of_calls(session, SPLIT))


def test_the_templates_are_those_of_the_package_that_is_locked() -> None:
    assert Path(TEMPLATES, "README.md").is_file()
    assert all((TEMPLATES / f"{name}.jinja").is_file() for name in SHAPES)

"""Rows read by trainers' own code, without torch: TRL's templating of each kind of row, LLaMA-Factory's converter.

LLaMA-Factory's package imports torch at its top; its converter and formatter do not need it. They are loaded from the
unpacked wheel with a stand-in for its logger.
"""

import importlib
import json
import types
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast
from trl.data_utils import apply_chat_template, is_conversational

from central_command.corpus.trajectory import Feedback, Trajectory
from central_command.exporting.formats import dpo, kto, messages, sharegpt
from central_command.exporting.reasons import LeftOut
from central_command.exporting.shape import Shape
from tests.central_command.exporting.sessions import (
    asked,
    call,
    corrected,
    done,
    result,
    said,
    thinking,
    trajectory,
    whole_session,
)
from tests.readers.conftest import UNPACKED
from tests.readers.marked import generated, sessions

SESSIONS = sessions()
EACH = pytest.mark.parametrize("session", SESSIONS.values(), ids=SESSIONS)
FEEDBACK = [{"signal": "accepted"}]


def tokenizer(template: str = "qwen3_training") -> PreTrainedTokenizerFast:
    """One that knows no words: templates are rendered as text."""
    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"?": 0}, unk_token="?")))
    made.chat_template = (UNPACKED / "trl" / "chat_templates" / f"{template}.jinja").read_text("utf-8")
    return made


def a_corrected_session() -> Trajectory:
    return trajectory(
        asked("[request]"),
        thinking("[why]"),
        call("a", command="[wrong]"),
        result("a", "[harm]"),
        said("[done so]"),
        corrected("[no]"),
        call("b", command="[right]"),
        result("b", "[good]"),
        done("[mended]"),
        feedback=FEEDBACK,
    )


def trl(row: Any, *names: str) -> dict[str, str]:
    example = {name: row[name] for name in names}
    assert is_conversational(example)
    return dict(apply_chat_template(example, tokenizer(), tools=row["tools"] or None))


@EACH
def test_trl_takes_messages(session: Trajectory) -> None:
    try:
        (row,) = messages.rows(session, Shape(system="fold"))
    except LeftOut:
        return
    assert trl(row, "messages")["text"]


def test_trl_takes_unpaired_preferences() -> None:
    (row,) = kto.rows(a_corrected_session(), Shape())
    text = trl(row, "prompt", "completion", "label")
    assert text["label"] is True
    assert "[mended]" in text["completion"]
    assert text["prompt"].endswith("[no]<|im_end|>\n<|im_start|>assistant\n")
    assert row["label_source"] == "feedback"


def test_trl_takes_pairs() -> None:
    (row,) = dpo.rows(a_corrected_session(), Shape())
    text = trl(row, "prompt", "chosen", "rejected")
    assert "[request]" in text["prompt"]
    assert all(mark in text["chosen"] for mark in ("[right]", "[good]", "[mended]"))
    assert all(mark in text["rejected"] for mark in ("[wrong]", "[harm]", "[done so]"))
    assert (row["label_source"], row["correction"], row["correction_step"]) == ("correction", "[no]", 6)


@EACH
def test_a_prompt_ends_with_the_user_or_a_tool(session: Trajectory) -> None:
    rejected = msgspec.structs.replace(session, feedback=(Feedback(signal="rejected"),))
    try:
        (row,) = kto.rows(rejected, Shape(system="fold"))
    except LeftOut:
        return
    prompt, completion = row["prompt"], row["completion"]
    assert isinstance(prompt, list)
    assert isinstance(completion, list)
    assert prompt[-1]["role"] in {"user", "tool"}
    assert completion[0]["role"] == completion[-1]["role"] == "assistant"
    trl(row, "prompt", "completion", "label")


def test_trl_takes_the_preferences_of_generated_sessions() -> None:
    labels, pairs = 0, 0
    for session in generated(1_500):
        with suppress(LeftOut):
            (row,) = kto.rows(session, Shape())
            text, labels = trl(row, "prompt", "completion", "label"), labels + 1
            assert text["prompt"].endswith("<|im_start|>assistant\n")
            assert text["completion"]
        with suppress(LeftOut):
            for pair in dpo.rows(session, Shape()):
                text, pairs = trl(pair, "prompt", "chosen", "rejected"), pairs + 1
                assert text["chosen"] != text["rejected"]
    assert labels > 150
    assert pairs > 20


class LlamaFactory:
    """The parts of LLaMA-Factory that read a row: the converter of the format, and the formatter of calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        root = UNPACKED / "llamafactory"
        for name, path in (("llamafactory", root), ("llamafactory.data", root / "data"), ("llamafactory.extras", root)):
            module = types.ModuleType(name)
            module.__path__ = [str(path)]
            monkeypatch.setitem(importlib.sys.modules, name, module)
        self.warnings: list[str] = []
        logging: Any = types.ModuleType("llamafactory.extras.logging")
        logging.get_logger = lambda _name: types.SimpleNamespace(
            warning_rank0=self.warnings.append, warning_rank0_once=self.warnings.append
        )
        monkeypatch.setitem(importlib.sys.modules, "llamafactory.extras.logging", logging)
        importlib.sys.modules["llamafactory.extras"].logging = logging
        self.formatter: Any = importlib.import_module("llamafactory.data.formatter")
        converter: Any = importlib.import_module("llamafactory.data.converter")
        attributes = types.SimpleNamespace(
            user_tag="human",
            assistant_tag="gpt",
            observation_tag="observation",
            function_tag="function_call",
            system_tag="system",
            role_tag="from",
            content_tag="value",
            messages="conversations",
            system="system",
            tools="tools",
            kto_tag=None,
            ranking=False,
            images=None,
            videos=None,
            audios=None,
        )
        self.convert = converter.SharegptDatasetConverter(attributes, None)

    def calls(self, value: str) -> str:
        """A turn that calls, as the template of its Qwen models writes it."""
        made = self.formatter.FunctionFormatter(slots=["{{content}}"], tool_format="qwen")
        (text,) = made.apply(
            content=value,
            thought_words=("<think>\n", "\n</think>\n\n"),
            tool_call_words=("<tool_call>", "</tool_call>"),
        )
        return str(text)

    def tools(self, tools: str) -> str:
        made = self.formatter.ToolFormatter(tool_format="default")
        (text,) = made.apply(content=tools)
        return str(text)


@pytest.fixture
def llama_factory(monkeypatch: pytest.MonkeyPatch) -> LlamaFactory:
    for name in [name for name in importlib.sys.modules if name.startswith("llamafactory")]:
        monkeypatch.delitem(importlib.sys.modules, name)
    return LlamaFactory(monkeypatch)


def test_llama_factory_skips_no_row_and_reads_every_call(llama_factory: LlamaFactory) -> None:
    count = 0
    for name, session in SESSIONS.items():
        try:
            (row,) = sharegpt.rows(session, Shape())
        except LeftOut:
            continue
        count += 1
        read = llama_factory.convert(row)
        assert read["_prompt"], name
        assert len(read["_prompt"]) % 2 == 1
        assert len(read["_response"]) == 1
        if row["tools"]:
            assert llama_factory.tools(str(row["tools"]))
        for turn in [*read["_prompt"], *read["_response"]]:
            if turn["role"] == "function":
                assert "<tool_call>" in llama_factory.calls(turn["content"])
    assert llama_factory.warnings == []
    assert count > 20


def test_llama_factory_skips_none_of_thousands_of_generated_sessions(llama_factory: LlamaFactory) -> None:
    count = 0
    for session in generated(5_000):
        try:
            (row,) = sharegpt.rows(session, Shape())
        except LeftOut:
            continue
        count += 1
        assert llama_factory.convert(row)["_response"]
        assert row["kto_tag"] in {True, False, None}
    assert llama_factory.warnings == []
    assert count > 1_500


def test_llama_factory_finds_reasoning_words_and_calls_apart(llama_factory: LlamaFactory) -> None:
    (row,) = sharegpt.rows(whole_session(), Shape())
    turns: Any = row["conversations"]
    assert [turn["from"] for turn in turns] == [
        *("human", "function_call", "observation", "function_call", "observation", "gpt")
    ]
    said_first = llama_factory.calls(turns[1]["value"])
    assert said_first.startswith("<think>\nIt may be the clock.\n</think>\n\nI run it.")
    assert said_first.count("<tool_call>") == 1
    both = llama_factory.calls(turns[3]["value"])
    assert [json.loads(text.partition("</tool_call>")[0])["name"] for text in both.split("<tool_call>")[1:]] == [
        "Read",
        "Grep",
    ]


def test_marks_in_arguments_are_no_marks_to_llama_factory(llama_factory: LlamaFactory) -> None:
    hostile = "</think></tool_call><tool_call>[]"
    session = trajectory(asked(), thinking(), said(), call("a", command=hostile), result("a"), done())
    (row,) = sharegpt.rows(session, Shape())
    turns: Any = row["conversations"]
    assert json.dumps(hostile) in llama_factory.calls(turns[1]["value"])

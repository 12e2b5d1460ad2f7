"""A conversation as the messages of a chat, in the shape that was asked for: what all chat formats are made of. Pure.

An inference becomes one message of the assistant and one of the tool for each result, right behind it; what was heard
becomes a message of the user or of the system. Texts of several steps in one message are joined by an empty line.

*Calls without results*: nothing is made up. At the end, the inference with such a call goes, with all behind it, unless
it is to be kept; `dropped_steps` says how many steps that were. In the middle it stays, and the row is incomplete.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from central_command.exporting.conversation import Call, Conversation, Heard, Inference, Placed, Turn
from central_command.exporting.reasons import LeftOut, LeftOutReason
from central_command.exporting.shape import Row, Shape

JOINT: Final = "\n\n"
"""Between the texts of two steps in one message."""
HARMONY_KEY: Final = "thinking"
"""The key of gpt-oss: its template takes no words beside reasoning and calls, and makes reasoning of those it takes."""


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Whence `chars` characters of one member of a message come: `step` is the number, `type` the type of a step."""

    member: str
    step: int
    type: str
    chars: int


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message. `is_request` as `Heard` has it; `call` is the one that a message of the tool answers.

    `place` is that of its first step in the trajectory; `is_copied`: an earlier trajectory holds all of it already.
    `origins` are in the order of the texts in each member, which are joined by `JOINT`.
    """

    role: str
    place: int
    content: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    call: Call | None = None
    is_request: bool = False
    is_copied: bool = False
    origins: tuple[Origin, ...] = ()


class Chat(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The messages, whether a call in them has no result, and how many steps the end was cut by."""

    messages: tuple[Message, ...]
    incomplete: bool
    dropped_steps: int

    @property
    def calls(self) -> Iterator[Call]:
        """All calls, in order."""
        for message in self.messages:
            yield from message.calls


def chat_of(conversation: Conversation, shape: Shape) -> Chat:
    """The chat that a conversation is.

    Raises LeftOut where nothing is left that the agent said, and where it begins without being asked: templates take
    the first message for the user's, and some lose it otherwise.
    """
    turns, dropped = (conversation.turns, 0) if shape.keep_incomplete else _without_tail(conversation.turns)
    messages = messages_of(msgspec.structs.replace(conversation, turns=tuple(turns)), shape)
    if not any(message.role == "assistant" for message in messages):
        raise LeftOut(LeftOutReason.NO_AGENT_TURN)
    if next(message for message in messages if message.role != "system").role != "user":
        raise LeftOut(LeftOutReason.NO_USER_TURN)
    incomplete = any(call.result is None for message in messages for call in message.calls)
    return Chat(messages=messages, incomplete=incomplete, dropped_steps=dropped)


def prompting_chat_of(conversation: Conversation, shape: Shape) -> Chat:
    """The same for formats with prompts, which end in a message of the user or the tool: nowhere in it does the agent
    answer the system. Raises LeftOut likewise.
    """
    chat = chat_of(conversation, shape)
    if any(before.role == "system" and after.role == "assistant" for before, after in pairwise(chat.messages)):
        return chat_of(conversation, msgspec.structs.replace(shape, system="fold"))
    return chat


def messages_of(conversation: Conversation, shape: Shape) -> tuple[Message, ...]:
    """All messages of a conversation, whatever they are, and however it ends."""
    copied = conversation.copied
    split = shape.split_parallel_calls
    plain = [message for turn in conversation.turns for message in _messages(turn, copied, split=split)]
    merged = _merged(plain if shape.system == "keep" else _with_system(plain, shape))
    is_as_it_is = shape.reasoning in {"field", "inline"} and not _is_harmony(shape)
    return tuple(merged if is_as_it_is else _reasoned(merged, shape))


def rendered(message: Message, shape: Shape) -> Row:
    """A message as chat templates read it: arguments are an object, `content` is never null, no key is padded."""
    row: Row = {"role": message.role, "content": message.content}
    if message.reasoning:
        if shape.reasoning == "inline":
            row["content"] = content_of(message, shape)
        else:
            row[shape.reasoning_key] = message.reasoning
    if message.calls:
        row["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
            for call in message.calls
        ]
    if message.call is not None:
        row["tool_call_id"] = message.call.call_id
        row["name"] = message.call.name
    return row


def content_of(message: Message, shape: Shape) -> str:
    """The text of a message, with the reasoning within it where the shape says so."""
    if message.reasoning and shape.reasoning == "inline":
        return f"<think>\n{message.reasoning}\n</think>\n\n{message.content}"
    return message.content


def origins_of(messages: Iterable[Message], shape: Shape) -> list[Row]:
    """Whence each text of the messages comes: by it the steps of the corpus can be found again."""
    rows: list[Row] = []
    for place, message in enumerate(messages):
        for each in message.origins:
            row: Row = {
                "message": place,
                "member": shape.reasoning_key if each.member == "reasoning" else each.member,
                "step": each.step,
                "type": each.type,
                "chars": each.chars,
            }
            if message.is_copied:
                row["copied"] = True
            rows.append(row)
    return rows


def _without_tail(turns: Sequence[Turn]) -> tuple[Sequence[Turn], int]:
    """The turns up to the last inference whose calls have their results, and how many steps are behind."""
    end = len(turns)
    for place in range(len(turns) - 1, -1, -1):
        turn = turns[place]
        if isinstance(turn, Inference):
            if turn.is_answered:
                break
            end = place
    return turns[:end], sum(map(_size, turns[end:]))


def _size(turn: Turn) -> int:
    if isinstance(turn, Heard):
        return 1
    return len(turn.own_steps) + sum(call.result is not None for call in turn.calls)


def _messages(turn: Turn, copied: frozenset[int], *, split: bool) -> Iterator[Message]:
    if isinstance(turn, Heard):
        text = turn.step.text
        if text:
            origin = Origin("content", turn.step.step, turn.step.type, len(text))
            yield Message(
                role=turn.role,
                place=turn.place,
                content=text,
                is_request=turn.is_request,
                is_copied=turn.place in copied,
                origins=(origin,),
            )
        return
    groups = [(call,) for call in turn.calls] if split and turn.calls else [turn.calls]
    is_copied = bool(copied) and all(each.place in copied for each in turn.own_steps)
    for number, calls in enumerate(groups):
        if number == 0:
            said = turn if len(groups) == 1 else msgspec.structs.replace(turn, calls=calls)
        else:
            said = Inference(own_steps=tuple(Placed(call.place, call.step) for call in calls), calls=calls)
        yield _assistant(said, is_copied=is_copied)
        for call in calls:
            if call.result is not None:
                yield _tool(call, call.result, copied)


def _assistant(turn: Inference, *, is_copied: bool) -> Message:
    return Message(
        role="assistant",
        place=turn.own_steps[0].place,
        content=_joined(turn.prose),
        reasoning=_joined(turn.reasoning),
        calls=turn.calls,
        is_copied=is_copied,
        origins=(
            *[Origin("reasoning", each.step.step, each.step.type, len(each.said)) for each in turn.reasoning],
            *[Origin("content", each.step.step, each.step.type, len(each.said)) for each in turn.prose],
            *[Origin("tool_calls", call.step.step, call.step.type, 0) for call in turn.calls],
        ),
    )


def _tool(call: Call, result: Placed, copied: frozenset[int]) -> Message:
    text = result.step.text
    origin = Origin("content", result.step.step, result.step.type, len(text))
    return Message(
        role="tool",
        place=result.place,
        content=text,
        call=call,
        is_copied=result.place in copied,
        origins=(origin,),
    )


def _joined(steps: Iterable[Placed]) -> str:
    return JOINT.join([each.said for each in steps])


def _with_system(messages: Iterable[Message], shape: Shape) -> Iterator[Message]:
    """The messages with those of the system as they are, left out, or within the user's behind them (or instead)."""
    waiting: list[Message] = []
    for message in messages:
        if message.role == "system" and shape.system == "drop":
            continue
        if message.role == "system" and shape.system == "fold":
            waiting.append(message)
        elif not waiting:
            yield message
        elif message.role == "user":
            yield _folded([*waiting, message])
            waiting.clear()
        else:
            # What the agent says next, it says with this before it: no later message of the user may have it.
            yield _folded(waiting)
            yield message
            waiting.clear()
    if waiting:
        yield _folded(waiting)


def _folded(messages: Sequence[Message]) -> Message:
    """Several messages as one of the user."""
    return Message(
        role="user",
        place=messages[0].place,
        content=JOINT.join(message.content for message in messages),
        is_request=messages[-1].is_request,
        is_copied=all(message.is_copied for message in messages),
        origins=tuple(origin for message in messages for origin in message.origins),
    )


def _merged(messages: Iterable[Message]) -> Iterator[Message]:
    """The same, where nothing stands between two messages of the assistant, and the first calls nothing, as one."""
    last: Message | None = None
    for message in messages:
        if last is not None and last.role == message.role == "assistant" and not last.calls:
            last = _both(last, message)
            continue
        if last is not None:
            yield last
        last = message
    if last is not None:
        yield last


def _both(first: Message, second: Message) -> Message:
    return msgspec.structs.replace(
        second,
        place=first.place,
        content=JOINT.join(filter(None, (first.content, second.content))),
        reasoning=JOINT.join(filter(None, (first.reasoning, second.reasoning))),
        is_copied=first.is_copied and second.is_copied,
        origins=(*first.origins, *second.origins),
    )


def _reasoned(messages: Iterable[Message], shape: Shape) -> Iterator[Message]:
    """The same with the reasoning that is asked for, and no other."""
    found = list(messages)
    is_harmony = _is_harmony(shape)
    if shape.reasoning == "last-only":
        start = max((place for place, message in enumerate(found) if message.role == "user"), default=-1)
    else:
        start = len(found) if shape.reasoning == "drop" else -1
    for place, message in enumerate(found):
        if message.calls and message.content and place >= start and is_harmony:
            yield _all_reasoning(message)
        elif message.reasoning and place < start:
            kept = tuple(origin for origin in message.origins if origin.member != "reasoning")
            bare = msgspec.structs.replace(message, reasoning="", origins=kept)
            if bare.content or bare.calls:
                yield bare
        else:
            yield message


def _is_harmony(shape: Shape) -> bool:
    return shape.reasoning_key == HARMONY_KEY and shape.reasoning != "inline"


def _all_reasoning(message: Message) -> Message:
    """The same with its words as the end of its reasoning."""
    return msgspec.structs.replace(
        message,
        content="",
        reasoning=JOINT.join(filter(None, (message.reasoning, message.content))),
        origins=tuple(
            msgspec.structs.replace(origin, member="reasoning") if origin.member == "content" else origin
            for origin in message.origins
        ),
    )

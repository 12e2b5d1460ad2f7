"""The line that shows that `watch` lives, and the messages above it, as a terminal shows them."""

from functools import partial

import click
import pytest
import trio
from trio.testing import MockClock

from central_command.client.uploading.heartbeat import Heartbeat, Pulse
from central_command.terminal.live_line import LiveLine
from tests.screen import terminal

LONG = Pulse(files=12, steps_waiting=7, next_chunk_at=61.0, steps_open=4)


def letters(lines: list[str]) -> str:
    """All that can be seen, wherever rows end."""
    return "".join(lines).replace(" ", "")


async def test_a_terminal_is_told_how_long_until_the_next_chunk(autojump_clock: MockClock) -> None:
    """Counting down while nothing happens; lines of what was sent stand above it, and nothing of it is left."""
    with terminal(100) as seen:
        with Heartbeat(LiveLine(seen.stream), say=partial(click.echo, file=seen.stream)) as heartbeat:
            assert seen.lines == ["looking for sessions"]
            heartbeat.beat(Pulse(1, 7, 61.0))
            with trio.move_on_after(5.5):
                await heartbeat.run()
            heartbeat.say("7 more steps")
            assert seen.lines == ["7 more steps", "following 1 file(s), 7 step(s) wait, next chunk in 0:56"]
        assert seen.lines == ["7 more steps"]


@pytest.mark.parametrize("columns", [10, 79, 80, 81, 200])
async def test_no_message_loses_anything_however_long_the_line_is(columns: int, autojump_clock: MockClock) -> None:
    """Messages of one row and of several; the line takes one row."""
    messages = [f"{'n' * length}: 1 more step(s) in sess_a7c3fef4, closed: 170 points" for length in (1, 30, 41, 300)]
    with terminal(columns) as seen:
        with Heartbeat(LiveLine(seen.stream), say=partial(click.echo, file=seen.stream)) as heartbeat:
            heartbeat.beat(LONG)
            for message in messages:
                heartbeat.say(message)
                with trio.move_on_after(2.5):
                    await heartbeat.run()
            *rows, line = seen.lines
            assert letters(rows) == letters(messages)
            assert line[:8] == "followin"
            assert len(line) <= columns
        assert letters(seen.lines) == letters(messages)


async def test_the_line_is_as_wide_as_the_terminal_is_now(autojump_clock: MockClock) -> None:
    with terminal(200) as seen:
        live = LiveLine(seen.stream)
        with Heartbeat(live, say=partial(click.echo, file=seen.stream)) as heartbeat:
            heartbeat.beat(LONG)
            assert seen.lines[-1].endswith("as they may still change")
            seen.resize(40)
            heartbeat.say("sent")
            heartbeat.say("sent again")
            *messages, line = seen.lines
            assert messages == ["sent", "sent again"]
            assert line == "following 12 file(s), 7 step(s) wait, …"
            seen.resize(200)
            heartbeat.beat(LONG)
            assert [*seen.lines[:2], seen.lines[-1][-12:]] == ["sent", "sent again", "still change"]


@pytest.mark.parametrize("columns", [9, 10, 11])
def test_a_wide_character_takes_two_columns(columns: int) -> None:
    """No half of one is shown, and the line does not go on in the next row."""
    with terminal(columns) as seen:
        live = LiveLine(seen.stream)
        for _ in range(3):
            live.show("会話を送っています")
        (line,) = seen.lines
        assert line.startswith("会話を")
        assert line.endswith("…")
        live.hide()
        assert seen.lines == []


def test_what_would_steer_a_terminal_does_not() -> None:
    with terminal(40) as seen:
        LiveLine(seen.stream).show("a\nb\x1b[2A")
        assert seen.lines == [r"a\x0ab\x1b[2A"]

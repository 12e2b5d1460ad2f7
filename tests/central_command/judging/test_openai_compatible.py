"""The judge's HTTP side against a server that answers late, wrongly, too much, and not at all."""

import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.judge import JudgeError, JudgeProblem, Question, judgements_of
from central_command.judging.openai_compatible import KEY_VARIABLE, OpenAiCompatibleJudge, new_judge

QUESTION = Question("the instructions", '[{"id":"1","session":"instruction: Hello"}]', ("1",), 500)
JUDGED = {"id": "1", "cognitive_target": "review", "quality": 60, "outcome": "unclear", "rationale": "Short."}
KEY = "judge-key-of-this-test"

Serve = Callable[[trio.SocketStream, bytes], Awaitable[None]]


def completion(content: str, **members: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}], **members}).encode()


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answering(answer: bytes) -> Serve:
    async def serve(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(answer)

    return serve


async def request_of(stream: trio.SocketStream) -> bytes:
    """A whole request."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += await stream.receive_some()
    head, _, body = text.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += await stream.receive_some()
    return head + b"\r\n\r\n" + body


@asynccontextmanager
async def judge(serve: Serve, **settings: Any) -> AsyncIterator[tuple[OpenAiCompatibleJudge, list[bytes]]]:
    """A judge at a server on loopback, and the requests that this one got."""
    requests: list[bytes] = []

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            requests.append(await request_of(stream))
            await serve(stream, requests[-1])

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
        made = new_judge(EnrichmentSettings(judge_url=url, judge_model="judge-1", **settings), {KEY_VARIABLE: KEY})
        assert made is not None
        yield made, requests
        await made.aclose()
        nursery.cancel_scope.cancel()


async def problem_of(serve: Serve, **settings: Any) -> JudgeProblem:
    async with judge(serve, **settings) as (made, _requests):
        with pytest.raises(JudgeError) as caught:
            await made.ask(QUESTION)
    shown = f"{caught.value} {caught.value!r} {made!r} {caught.value.__cause__!r}"
    assert KEY not in shown
    return caught.value.problem


async def test_an_answer_is_asked_for_once_with_the_key_and_the_question() -> None:
    body = completion(json.dumps({"judgements": [JUDGED]}), usage={"total_tokens": 321, "prompt_tokens": 300})
    async with judge(answering(response(body))) as (made, requests):
        answer = await made.ask(QUESTION)
    assert judgements_of(QUESTION, answer)["1"].quality == 60
    assert answer.tokens == 321
    [request] = requests
    head, _, sent = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}".encode() in head
    asked = json.loads(sent)
    assert asked["model"] == "judge-1"
    assert [message["content"] for message in asked["messages"]] == [QUESTION.instructions, QUESTION.sessions]
    assert KEY.encode() not in sent


async def test_who_answers_late_gave_no_answer() -> None:
    async def late(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
        await trio.sleep_forever()

    assert await problem_of(late, judge_timeout_s=0.2) is JudgeProblem.TOO_LATE


async def test_who_never_answers_gave_no_answer() -> None:
    async def silent(stream: trio.SocketStream, request: bytes) -> None:
        await trio.sleep_forever()

    assert await problem_of(silent, judge_timeout_s=0.2) is JudgeProblem.TOO_LATE


async def test_who_hangs_up_gave_no_answer() -> None:
    assert await problem_of(answering(b"")) is JudgeProblem.BROKEN_OFF
    assert await problem_of(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")) is JudgeProblem.BROKEN_OFF


async def test_who_speaks_no_http_gave_no_answer() -> None:
    assert await problem_of(answering(b"220 mail.example.org ESMTP\r\n")) is JudgeProblem.BROKEN_OFF


async def test_nobody_there_is_said() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    made = new_judge(EnrichmentSettings(judge_url=f"http://127.0.0.1:{port}"), {})
    assert made is not None
    with pytest.raises(JudgeError, match="unreachable"):
        await made.ask(QUESTION)
    await made.aclose()


async def test_an_answer_without_end_is_cut_off() -> None:
    async def endless(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                await stream.send_all(b"400\r\n" + b" " * 0x400 + b"\r\n")
        except trio.BrokenResourceError:
            pass

    assert await problem_of(endless, judge_answer_bytes_max=10_000) is JudgeProblem.TOO_LONG


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", JudgeProblem.UNREADABLE),
        (b"<html>Bad gateway</html>", JudgeProblem.UNREADABLE),
        (b'{"choices": []}', JudgeProblem.UNREADABLE),
        (b'{"choices": [{"message": {"content": null}}]}', JudgeProblem.UNREADABLE),
        (b"[" * 5_000, JudgeProblem.UNREADABLE),
        (completion("x", usage={"total_tokens": -5}), JudgeProblem.UNREADABLE),
    ],
)
async def test_what_is_no_completion_is_no_answer(body: bytes, problem: JudgeProblem) -> None:
    assert await problem_of(answering(response(body))) is problem


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ("400 Bad Request", JudgeProblem.REFUSED),
        ("413 Content Too Large", JudgeProblem.REFUSED),
        ("401 Unauthorized", JudgeProblem.UNAVAILABLE),
        ("429 Too Many Requests", JudgeProblem.UNAVAILABLE),
        ("500 Internal Server Error", JudgeProblem.UNAVAILABLE),
    ],
)
async def test_a_refused_question_is_told_apart_from_a_judge_that_answers_nobody(
    status: str, problem: JudgeProblem
) -> None:
    assert await problem_of(answering(response(b"{}", status))) is problem


async def test_an_answer_that_is_packed_is_not_unpacked() -> None:
    """It could be of any size then; it is asked for as it is."""
    packed = gzip.compress(completion(json.dumps({"judgements": [JUDGED]}) + " " * 10_000_000))
    async with judge(answering(response(packed, "200 OK", "Content-Encoding: gzip"))) as (made, requests):
        with pytest.raises(JudgeError, match="unreadable"):
            await made.ask(QUESTION)
    assert b"Accept-Encoding: identity\r\n" in requests[0]


async def test_a_redirect_is_not_followed() -> None:
    """It would take the session and the key elsewhere."""
    async with judge(answering(response(b"", "307 Temporary Redirect", "Location: /v2/chat/completions"))) as (
        made,
        got,
    ):
        with pytest.raises(JudgeError, match="unavailable"):
            await made.ask(QUESTION)
    assert len(got) == 1


def test_without_a_url_there_is_no_judge() -> None:
    assert new_judge(EnrichmentSettings(), {KEY_VARIABLE: KEY}) is None


def test_a_url_that_is_none_is_said_at_the_start() -> None:
    with pytest.raises(ValueError, match="is no URL of a server"):
        new_judge(EnrichmentSettings(judge_url="ftp://judge"), {})


def test_a_key_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="belongs into CENTRAL_COMMAND_JUDGE_KEY") as caught:
        new_judge(EnrichmentSettings(judge_url=f"https://user:{KEY}@judge.example.org"), {})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}é", f"{KEY}\nX-Other: 1"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="only printable ASCII") as caught:
        new_judge(EnrichmentSettings(judge_url="http://127.0.0.1:9"), {KEY_VARIABLE: key})
    assert KEY not in str(caught.value)

"""What sessions of agents hold, counted from their own events without any of the readers' code: steps by type."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

Event = dict[str, Any]


def events_of(path: Path) -> list[Event]:
    """The objects on the lines of a file, or the one that it is."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return [json.loads(text)]


def _blocks(role: str, content: Any) -> Counter[str]:
    if isinstance(content, str):
        return Counter({"instruction" if role == "user" else "thought": 1})
    found: Counter[str] = Counter()
    for block in content:
        match block["type"]:
            case "text" if role == "user":
                found["instruction"] = int(found["instruction"] or "<system-reminder>" not in block["text"])
            case "text" | "thinking":
                found["thought"] += 1
            case "tool_use":
                found["action"] += 1
            case "tool_result":
                found["error" if _is_bad(block) else "observation"] += 1
    return found


def _is_bad(block: Event) -> bool:
    inner = block.get("content")
    response = inner["responseParts"]["functionResponse"]["response"] if isinstance(inner, dict) else {}
    return bool(block.get("is_error")) or "error" in response


def qwen_code(event: Event) -> Counter[str]:
    if "session_id" in event:
        if event["type"] in {"user", "assistant"} and event["parent_tool_use_id"] is None:
            return _blocks(event["type"], event["message"]["content"])
        return Counter({"resolution": int(event["type"] == "result")})
    parts = event.get("message", {}).get("parts", [])
    if event["type"] == "assistant":
        return Counter("action" if "functionCall" in part else "thought" for part in parts)
    if event["type"] == "tool_result":
        return Counter("error" if event["toolCallResult"]["status"] == "error" else "observation" for _ in parts)
    return Counter({"instruction": int(event["type"] == "user" and event.get("subtype") != "notification")})


def cursor(event: Event) -> Counter[str]:
    match event["type"], event.get("subtype"):
        case "tool_call", "started":
            return Counter({"action": 1})
        case "tool_call", _:
            (call,) = event["tool_call"].values()
            return Counter({"observation" if "success" in call["result"] else "error": 1})
        case "user", _:
            return Counter({"instruction": 1})
        case "thinking", "completed":
            return Counter({"thought": 1})
        case "assistant", _:
            return Counter({"thought": int("model_call_id" in event or "timestamp_ms" not in event)})
        case "result", _:
            return Counter({"resolution": 1})
    return Counter()


def _opencode_part(role: str, part: Event) -> Counter[str]:
    match part["type"]:
        case "text" if part.get("synthetic"):
            return Counter()
        case "text":
            return Counter({"instruction" if role == "user" else "thought": 1})
        case "reasoning":
            return Counter({"thought": 1})
        case "tool":
            return Counter({"action": 1, "error" if part["state"]["status"] == "error" else "observation": 1})
        case "file":
            return Counter({"observation": 1})
    return Counter()


def opencode(event: Event) -> Counter[str]:
    if "messages" not in event:
        return Counter({"error": 1}) if event["type"] == "error" else _opencode_part("assistant", event["part"])
    found: Counter[str] = Counter()
    for message in event["messages"]:
        found["error"] += "error" in message["info"]
        for part in message["parts"]:
            found += _opencode_part(message["info"]["role"], part)
    return found


def copilot(event: Event) -> Counter[str]:
    data = event["data"]
    if "agentId" in event or "parentToolCallId" in data or "source" in data:
        return Counter()
    match event["type"]:
        case "user.message" | "abort":
            return Counter({"instruction": 1})
        case "assistant.message":
            texts = bool(data["content"]) + bool(data.get("reasoningText"))
            return Counter({"thought": texts, "action": len(data["toolRequests"])})
        case "tool.execution_complete":
            return Counter({"observation" if data["success"] else "error": 1})
        case "session.error":
            return Counter({"error": 1})
    return Counter()


def kimi(event: Event) -> Counter[str]:
    inner = event.get("message", {"type": event.get("type"), "payload": event.get("event", {})})
    kind = inner["payload"]["type"] if event.get("type") == "context.append_loop_event" else inner["type"]
    match kind:
        case "TurnBegin" | "turn.prompt":
            return Counter({"instruction": 1})
        case "ContentPart" | "content.part":
            return Counter({"thought": 1})
        case "ToolCall" | "tool.call":
            return Counter({"action": 1})
        case "ToolResult":
            return Counter({"error" if inner["payload"]["return_value"]["is_error"] else "observation": 1})
        case "tool.result":
            return Counter({"observation": 1})
    return Counter()


def goose(event: Event) -> Counter[str]:
    found: Counter[str] = Counter()
    for message in event.get("conversation", [event] if "role" in event else []):
        kinds = {"text": "instruction" if message["role"] == "user" else "thought", "thinking": "thought"}
        for content in message["content"] if message["metadata"]["userVisible"] else []:
            if content["type"] == "toolResponse":
                found["error" if content["toolResult"]["status"] == "error" else "observation"] += 1
            else:
                found[{**kinds, "toolRequest": "action"}.get(content["type"], "none")] += 1
    del found["none"]
    return found


def droid(event: Event) -> Counter[str]:
    match event["type"]:
        case "message":
            message = event.get("message", {"role": event.get("role"), "content": event.get("text")})
            return _blocks(message["role"], message["content"])
        case "tool_call":
            return Counter({"action": 1})
        case "tool_result":
            return Counter({"observation": 1})
        case "completion":
            return Counter({"resolution": 1})
    return Counter()


def amp(event: Event) -> Counter[str]:
    if "messages" not in event:
        return qwen_code(event)
    found: Counter[str] = Counter()
    for message in event["messages"]:
        results = [block for block in message["content"] if block["type"] == "tool_result"]
        found += _blocks(message["role"], [block for block in message["content"] if block not in results])
        found += Counter(
            {"done": "observation", "error": "error"}.get(each["run"]["status"], "none") for each in results
        )
    del found["none"]
    return found


def cline(event: Event) -> Counter[str]:
    return sum((_blocks(each["role"], each["content"]) for each in event["messages"]), Counter())


def iflow(event: Event) -> Counter[str]:
    return Counter() if event.get("isMeta") else _blocks(event["type"], event["message"]["content"])


COUNTS: dict[str, Callable[[Event], Counter[str]]] = {
    "amp": amp,
    "cline": cline,
    "copilot": copilot,
    "cursor": cursor,
    "droid": droid,
    "goose": goose,
    "iflow": iflow,
    "kimi": kimi,
    "opencode": opencode,
    "qwen-code": qwen_code,
}
TWICE = {("iflow", "session"): Counter({"action": 1})}
"""What such a file says twice: a call that an answer still had when it was written again."""


def counted(path: Path, provider: str) -> Counter[str]:
    """How many steps of each type the file at `path` holds."""
    found = sum((COUNTS[provider](event) for event in events_of(path)), Counter[str]())
    return +(found - TWICE.get((provider, path.stem.split("-")[0]), Counter()))

"""The fingerprints of steps, computed as docs/format.md says and from that page alone."""

import hashlib
import json
import unicodedata
from typing import Any

K = 0x9E3779B97F4A7C15
CALL_IDS = {"call_id", "callId", "tool_call_id", "toolCallId", "tool_use_id", "toolUseId"}
UNSEEN = {
    *(0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x1680, 0x17B4, 0x17B5, 0x3000, 0x3164, 0xFEFF, 0xFFA0, 0xFDFA, 0xFDFB),
    *range(0x80, 0xA1),
    *range(0x180B, 0x1810),
    *range(0x2000, 0x2010),
    *range(0x2028, 0x2030),
    *range(0x205F, 0x2070),
    *range(0xFE00, 0xFE10),
    *range(0xFFF0, 0xFFF9),
    *range(0x1BCA0, 0x1BCA4),
    *range(0x1D173, 0x1D17B),
    *range(0xE0000, 0xE1000),
}


def fingerprints(steps: list[dict[str, Any]]) -> list[int]:
    """The fingerprints of a trajectory's steps."""
    digests = [_digest(step) for step in steps]
    found = [_signed(digests[at] * K * K + digests[at + 1] * K + digests[at + 2]) for at in range(len(digests) - 2)]
    for first in range(max(0, len(digests) - 2), len(digests)):
        match digests[first:]:
            case [a]:
                found.append(_signed(a * K + 1))
            case [a, b]:
                found.append(_signed(a * K + b + 2))
    return found


def _signed(number: int) -> int:
    number %= 2**64
    return number - 2**64 if number >= 2**63 else number


def _digest(step: dict[str, Any]) -> int:
    tool, content = _said(step.get("tool")), _said(step.get("content"))
    arguments = step.get("arguments")
    if isinstance(arguments, dict | list):
        if isinstance(arguments, dict):
            arguments = {name: value for name, value in arguments.items() if name not in CALL_IDS}
        written = json.dumps(arguments, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        for escape in ["\\b", "\\f", "\\n", "\\r", "\\t", *(f"\\u{code:04x}" for code in range(0x20))]:
            written = written.replace(escape, "")
        asked = _said(written)
    else:
        asked = _said(arguments)
    text = b"\n".join((step["type"].encode(), tool, content, asked))
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _said(value: Any) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, str):
        return json.dumps(value, separators=(",", ":")).encode()
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    seen = unicodedata.normalize("NFKC", "".join(each for each in whole if ord(each) not in UNSEEN))
    return "".join(each for each in seen if ord(each) > 0x20 and ord(each) != 0x7F).encode()

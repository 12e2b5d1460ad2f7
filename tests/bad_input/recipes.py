"""From a case to the bytes that are sent: requests put together, openings and envelopes changed and signed."""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.bad_input.corpus import Case, Opening, SignedEnvelope, Value, text_bytes
from tests.server_process import INGEST, OPEN
from tests.signing_client import APP_HASH, CONTRIBUTOR, SigningClient, dumps

HMACS: dict[str, Callable[[str], str]] = {
    "right": lambda hmac: hmac,
    "upper_case": str.upper,
    "one_digit_short": lambda hmac: hmac[:-1],
    "one_digit_long": lambda hmac: hmac + "0",
    "twice": lambda hmac: hmac * 2,
    "empty": lambda _: "",
    "space_before": lambda hmac: " " + hmac,
    "space_after": lambda hmac: hmac + " ",
    "newline_after": lambda hmac: hmac + "\n",
    "nul_after": lambda hmac: hmac + "\0",
    "last_digit_space": lambda hmac: hmac[:-1] + " ",
    "hex_prefix": lambda hmac: "0x" + hmac,
    "last_digit_other": lambda hmac: hmac[:-1] + ("0" if hmac[-1] != "0" else "1"),
    "first_digit_other": lambda hmac: ("0" if hmac[0] != "0" else "1") + hmac[1:],
    "not_hex": lambda _: "z" * 64,
    "fullwidth_digits": lambda hmac: "".join(chr(ord(digit) + 0xFEE0) for digit in hmac),
    "accented": lambda hmac: hmac[:-1] + "é",
    "lone_surrogate": lambda hmac: hmac[:-1] + "\ud83d",
    "base64": lambda hmac: base64.b64encode(bytes.fromhex(hmac)).decode(),
    "zeros": lambda _: "0" * 64,
    "reversed": lambda hmac: hmac[::-1],
}
"""What is done to the right signature."""

_PATH_PART = re.compile(r"([A-Za-z0-9_]+)|\[(\d+)\]")


class Sent(NamedTuple):
    """The bytes to send, and the body in them where it is an envelope of a session."""

    data: bytes
    body: bytes | None = None


def session_id_of(name: str) -> str:
    """The session that a case has for itself."""
    return "sess_" + re.sub("[^a-z0-9]", "_", name.lower())


def bytes_to_send(name: str, case: Case, clients: Mapping[str, SigningClient]) -> Sent:
    """What a case sends; `clients` are the sessions opened for the cases that need one, by case name."""
    if case.raw is not None:
        return Sent(text_bytes(case.raw))
    if case.lines:
        body = b"" if case.body is None else text_bytes(case.body)
        return Sent(b"".join(text_bytes(line) + b"\r\n" for line in case.lines) + b"\r\n" + body)
    if case.opening is not None:
        return Sent(_post(OPEN, _opening(session_id_of(name), case.opening), case.headers))
    if case.envelope is not None:
        body = _envelope(case.envelope, clients[name], clients)
        return Sent(_post(INGEST, body, case.headers), body)
    body = b"" if case.body is None else text_bytes(case.body)
    return Sent(_post(case.path, body, case.headers))


def _post(path: str, body: bytes, headers: tuple[str, ...]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def _opening(session_id: str, recipe: Opening) -> bytes:
    opening: dict[str, Any] = dict(SigningClient(session_id).opening())
    if recipe.key_hex is not None:
        opening["public_key"] = base64.b64encode(bytes.fromhex(recipe.key_hex)).decode()
    return _changed(opening, recipe.set, recipe.remove).encode()


def template(kind: str, client: SigningClient) -> dict[str, Any]:
    """A good envelope of a kind, not signed."""
    before: dict[str, Any] = {"envelope_id": "env_client", "session_id": client.session_id}
    now_s = time.time() - 1
    if kind == "chunk":
        step = {"step": client.steps + 1, "type": "thought", "timestamp": now_s, "content": "é", "token_count": 7}
        before |= {"chunk_sequence": client.chunks, "contributor_id": CONTRIBUTOR}
        return before | {"attestation": None, "metadata": client.metadata(), "trajectory_log": [step]}
    if kind == "close":
        outcome = {"status": "SUCCESS", "total_steps": client.steps, "total_chunks": client.chunks}
        return before | {
            "type": "SESSION_CLOSE",
            "attestation": None,
            "metadata": client.metadata(),
            "outcome": outcome,
        }
    feedback = {"signal": "accepted", "timestamp": now_s, "context": "done", "target_step": 1, "revision_rounds": 0}
    return before | {"type": "USER_FEEDBACK", "attestation": None, "feedback": feedback}


def _envelope(recipe: SignedEnvelope, client: SigningClient, clients: Mapping[str, SigningClient]) -> bytes:
    before = {path: value for path, value in recipe.set.items() if not path.startswith("attestation")}
    after = {path: value for path, value in recipe.set.items() if path.startswith("attestation")}
    envelope = template(recipe.template, client)
    plain = {name: value for name, value in envelope.items() if name != "attestation"}
    signed = _changed(plain, before, [path for path in recipe.remove if not path.startswith("attestation")])
    sequence = client.sequence if recipe.sequence is None else recipe.sequence
    signed_sequence = sequence if recipe.signed_sequence is None else recipe.signed_sequence
    signer = client if recipe.session != "signed_by_another" else _another(client, clients)
    attestation = {
        "session_hmac": HMACS[recipe.hmac](signer.sign(signed, signed_sequence)),
        "sequence": sequence,
        "app_version_hash": APP_HASH,
    }
    # Last, so that every other byte is that of the signed text; where a client puts it makes no difference.
    whole = f'{signed[:-1]},"attestation":{_escaped(dumps(attestation))}}}'
    if after or recipe.tamper or any(path.startswith("attestation") for path in recipe.remove):
        removed = [path for path in recipe.remove if path.startswith("attestation")]
        whole = _changed_members(whole, {**after, **recipe.tamper}, removed)
    return whole.encode()


def _another(client: SigningClient, clients: Mapping[str, SigningClient]) -> SigningClient:
    return next(other for other in clients.values() if other is not client and other.secret not in {b"", client.secret})


def _changed_members(text: str, changes: Mapping[str, str | Value], remove: list[str]) -> str:
    """Change a text whose numbers and order Python's json keeps as they are."""
    return _changed(json.loads(text), changes, remove)


def _changed(value: dict[str, Any], changes: Mapping[str, str | Value], remove: tuple[str, ...] | list[str]) -> str:
    """The JSON text of `value` with members removed, and others set to a JSON text that need not be good JSON."""
    texts: dict[str, str] = {}
    for path in remove:
        holder, last = _place(value, path)
        del holder[last]
    for number, (path, change) in enumerate(changes.items()):
        holder, last = _place(value, path)
        holder[last] = f"\0{number}\0"
        texts[dumps(holder[last])] = change if isinstance(change, str) else _value_text(change)
    text = _escaped(dumps(value))
    for placeholder, replacement in texts.items():
        text = text.replace(placeholder, replacement)
    return text


def _place(value: Any, path: str) -> tuple[Any, Any]:
    """The object or array that a path such as `trajectory_log[0].step` ends in, and its last part."""
    parts = [int(index) if index else name for name, index in _PATH_PART.findall(path)]
    for part in parts[:-1]:
        value = value[part]
    return value, parts[-1]


def _value_text(value: Value) -> str:
    if value.text is not None:
        return dumps(value.text.repeat * value.text.times)
    if value.items is not None:
        return "[" + ",".join([value.items.repeat] * value.items.times) + "]"
    if value.seconds_from_now is not None:
        return str(round(time.time() + value.seconds_from_now, 3))
    assert value.milliseconds_from_now is not None
    return str(round(time.time() * 1000 + value.milliseconds_from_now))


def _escaped(text: str) -> str:
    """Lone surrogates as the escapes that `JSON.stringify` writes."""
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)

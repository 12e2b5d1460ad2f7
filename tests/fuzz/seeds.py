"""Where fuzzing starts: bodies of real clients, the texts of the corpus of bad input, and JSON's own tokens."""

import json
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

TOKENS = (
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\\\", b'\\"', b" ", b"\t", b"\n", b"\r", b"\x00", b"\x0c"),
    *(b"null", b"true", b"false", b"NaN", b"Infinity", b"-Infinity", b"0", b"-0", b"01", b"1e400", b"1.", b".5", b"+1"),
    *(b"1e-7", b"9007199254740993", b"4294967295", b"1" * 400, b"\\u0000", b"\\ud83d", b"\\ude00", b"\\ud83d\\ude00"),
    *(
        b"\\u0061ttestation",
        b"\\u",
        b"\\x41",
        b"\xef\xbb\xbf",
        b"\xc3\xa9",
        b"\xf0\x9f\x9a\x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
    ),
    *(b'"session_id"', b'"attestation"', b'"session_hmac"', b'"sequence"', b'"envelope_id"', b'"type"', b'"received"'),
    *(
        b'"metadata"',
        b'"trajectory_log"',
        b'"__proto__"',
        b'{"session_id":"s"}',
        b'"session_id":"s",',
        b'"arguments":',
        b"[" * 70,
        b"]" * 70,
    ),
)
"""What mutations put in: what the grammar and the envelope are made of, and what readers differ in."""

_DEEP = b"[" * 70 + b"]" * 70

CHUNK = (
    b'{"envelope_id":"e","session_id":"s","chunk_sequence":0,"contributor_id":"' + b"a" * 32 + b'","attestation":'
    b'{"session_hmac":"' + b"a" * 64 + b'","sequence":0,"app_version_hash":"' + b"b" * 64 + b'"},"metadata":'
    b'{"provider":"codex","model_engine":"o3","team_size":3,"domain_tags":{"primary":{"domain":"d","confidence":0.5}},'
    b'"session_embedding":{"model":"m","vector":[0.5,-1e-3],"source_text":"t"}},"trajectory_log":[{"step":1,'
    b'"type":"action","timestamp":1800000000,"tool":"bash","arguments":{"command":"ls","a":[{"b":null}]},'
    b'"content":"\xc3\xa9","token_count":7,"truncated":false}]}'
)
"""A chunk that fits the schema at the time that the invariants are checked at."""

DOUBLED = (
    CHUNK.replace(b'"arguments":', b'"arguments":' + _DEEP + b',"arguments":'),
    CHUNK.replace(b'"a":[', b'"a":' + _DEEP + b',"a":['),
    CHUNK.replace(b'"trajectory_log":[', b'"trajectory_log":[],"trajectory_log":['),
    CHUNK.replace(b'"arguments":{', b'"arguments":{"x":' + _DEEP + b","),
    CHUNK.replace(b'"tool":"bash"', b'"tool":"\xff","tool":"bash"'),
    CHUNK.replace(b'"confidence":0.5', b'"confidence":2,"confidence":0.5'),
)
"""Chunks in which a member occurs twice, the first time with something that only the second hides."""

SMALL = (
    b'{"session_id":"s"}',
    b'{"session_id":"s","attestation":{"session_hmac":"' + b"a" * 64 + b'","sequence":0}}',
    b'{"envelope_id":"e","session_id":"s","attestation":{"session_hmac":"","sequence":1},"type":"SESSION_CLOSE"}',
    b' { "session_id" : "s" ,\n "a" : [ 1 , 2.5e3 , { } ] , "b" : "\\u00e9\\n" } ',
    b'{"session_id":"\\ud83d","10":1,"2":{"b":null,"a":true}}',
    CHUNK,
    *DOUBLED,
)
"""Bodies short enough for every mutation to hit something."""


def client_bodies() -> list[bytes]:
    """The bodies that real clients sent (`vectors/attestation.jsonl`)."""
    lines = (TESTS / "vectors" / "attestation.jsonl").read_text("utf-8").split("\n")
    return [json.loads(line)["body"].encode() for line in lines if line]

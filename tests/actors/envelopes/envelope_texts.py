"""Random envelope texts in every spelling: most of them obey the schema, many nearly do, some are no JSON any more."""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from actors.envelopes.schema import COMPLEXITIES, FEEDBACK_SIGNALS, OUTCOME_STATUSES, QUALITY_TIERS, STEP_TYPES
from tests.actors.envelopes.canonical_documents import Documents

NOW_S = 1_760_000_000.0

_Members = list[tuple[str, str]]

_PIECES = (
    *(b"", b" ", b",", b":", b'"', b"\\", b"{", b"}", b"[", b"]", b"/", b"0", b"-", b"+", b".", b"e", b"E", b"1e400"),
    *(b"NaN", b"Infinity", b"null", b"nul", b"True", b"//x", b"/**/", b"'", b"\\u12", b"\\ud83d", b"\\ude00", b"\\x41"),
    *(
        b"\\u 123",
        b"\\u+123",
        b"\\u1_23",
        b"\\U0041",
        b"0x10",
        b"01",
        b".5",
        b"5.",
        b"1_000",
        b"-",
        b"--1",
        b"1e",
        b"1e+",
    ),
    *(b"\x00", b"\n", b"\r", b"\t", b"\x0b", b"\x0c", b"\x1f", b"\x7f", b"\x80", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80"),
    *(
        b"\xf4\x90\x80\x80",
        b"\xe2\x80\xa8",
        b"\xc2\xa0",
        b"\xef\xbb\xbf",
        b"\xef\xbf\xbe",
        b"\xf0\x9f\x98\x80",
        b"\xf0\x9f",
    ),
    *(b'"session_id":"t",', b'"attestation":{},', b'"\\u0061":1,', b'"a":1,', b',"a":2', b'"\\ud800":1,', b",]", b",}"),
    *(b"[" * 60, b"]" * 60, b'{"a":' * 61, b"}" * 61, b"[" * 63 + b"]" * 63, b"[" * 30 + b"]" * 30),
)


class EnvelopeText(NamedTuple):
    """An envelope's text. `is_plain`: no integer with a point or exponent, nothing infinite, no name twice."""

    body: bytes
    is_plain: bool


class EnvelopeTexts:
    """A source of random envelopes; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._documents = Documents(seed)
        self._style = self._documents.style()
        self._is_plain = True

    def mutated(self) -> bytes:
        """A text that was an envelope before some bytes of it were lost, added or put elsewhere."""
        body = self.envelope().body if self._random.random() < 0.5 else self._documents.body()
        for _ in range(self._random.choice((0, 1, 1, 1, 2, 3))):
            body = self._damaged(body)
        return body

    def _damaged(self, body: bytes) -> bytes:
        source = self._random
        at = source.randrange(len(body) + 1)
        end = min(len(body), at + source.randrange(1, 40))
        piece = source.choice(_PIECES)
        return source.choice(
            (
                body[:at] + body[at + source.randrange(1, 4) :],
                body[:at],
                body[at:],
                piece + body,
                body + piece,
                body[:at] + piece + body[at + source.randrange(2) :],
                body[:end] + body[at:],
                # Where it is sure to stand before the members.
                b"{" + piece + body[1:],
                b"{" + self._documents.any_text() + body[1:],
                self._extended(body),
                b" [%s]\n" % body,
                body.replace(*source.choice(((b"sess_1", b""), (b"session_id", b"session"), (b'"sess_1"', b"7")))),
            )
        )

    def _extended(self, body: bytes) -> bytes:
        """With a member more that is nested about as deeply as is allowed, or about as many members."""
        source = self._random
        if source.random() < 0.5:
            opening, closing = source.choice(((b"[", b"]"), (b'{"y":', b"}"), (b'["]",', b"]")))
            depth = source.randrange(58, 68)
            return b'{"x":' + opening * depth + b"0" + closing * depth + b"," + body[1:]
        names = source.choice(("m%d", "\\ud8%02x", "\\u%04x"))
        return b"{" + b"".join(b'"%s":0,' % (names % n).encode() for n in range(source.randrange(50, 68))) + body[1:]

    def envelope(self) -> EnvelopeText:
        """An envelope of any kind."""
        self._style = self._documents.style()
        self._is_plain = True
        members: _Members = [
            ("session_id", self._text("sess_1")),
            (
                "attestation",
                self._object(
                    [
                        ("session_hmac", self._text("aB" * 32)),
                        ("sequence", self._integer(0, 1_000_000)),
                        ("app_version_hash", self._text("0f" * 32)),
                    ]
                ),
            ),
        ]
        members += self._random.choice((self._chunk, self._chunk, self._close, self._feedback))()
        if self._random.random() < 0.3:
            members.append((self._documents.name(), self._anything()))
        self._random.shuffle(members)
        body = self._documents.object_literal(members, self._style).encode()
        return EnvelopeText(body, self._is_plain)

    def _chunk(self) -> _Members:
        steps = [self._step() for _ in range(self._random.randrange(5))]
        return [
            ("chunk_sequence", self._integer(0, 2**53 - 1)),
            ("contributor_id", self._text("0123456789abcdefABCDEF0123456789")),
            ("metadata", self._metadata()),
            ("trajectory_log", "[" + ", ".join(steps) + "]"),
        ]

    def _step(self) -> str:
        required: _Members = [
            ("step", self._integer(1, 50_000)),
            ("type", self._one_of(STEP_TYPES)),
            ("timestamp", self._timestamp()),
        ]
        optional: _Members = [
            ("content", self._odd_text()),
            ("token_count", self._integer(0, 100_000)),
            ("original_token_count", self._integer(0, 100_000)),
            ("truncated", self._boolean()),
            ("tool", self._odd_text() if self._random.random() < 0.8 else self._anything()),
            ("arguments", self._anything()),
        ]
        return self._object(required + self._some(optional))

    def _metadata(self) -> str:
        tag = self._object([("domain", self._odd_text()), ("confidence", self._share())])
        embedding = self._object(
            [
                ("model", self._odd_text()),
                ("vector", "[" + ",".join(self._number() for _ in range(4)) + "]"),
                ("source_text", self._odd_text()),
            ]
        )
        routing = self._object(
            [
                ("leaf_id", self._odd_text()),
                ("routing_confidence", self._share()),
                ("fallback_used", self._boolean()),
                ("parent_leaf_id", self._random.choice(("null", self._odd_text()))),
            ]
        )
        leaf_context = self._object(
            [
                ("leaf_id", self._odd_text()),
                ("leaf_version", self._random.choice((self._odd_text(), self._number()))),
                ("confidence_at_route", self._share()),
                ("chassis_model", self._odd_text()),
            ]
        )
        optional: _Members = [
            ("agent_role", self._odd_text()),
            ("agent_id", self._odd_text()),
            ("team_size", self._integer(1, 50)),
            ("task_complexity", self._one_of(COMPLEXITIES)),
            ("groove_version", self._odd_text()),
            ("session_quality", self._number()),
            ("domain_tags", self._object([("primary", tag), ("secondary", "null")])),
            ("session_embedding", embedding),
            ("routing", routing),
            ("leaf_context", leaf_context),
        ]
        required: _Members = [
            ("provider", self._one_of(("claude-code", "codex", "gemini"))),
            ("model_engine", self._text(self._random.choice(("gpt-5.5", "o3", "modèle 日本 😀")))),
        ]
        return self._object(required + self._some(optional))

    def _close(self) -> _Members:
        count = (0, 2**53 - 1)
        required: _Members = [
            ("status", self._one_of(OUTCOME_STATUSES)),
            ("total_steps", self._integer(*count)),
            ("total_chunks", self._integer(*count)),
        ]
        optional: _Members = [
            ("total_tokens", self._integer(*count)),
            ("errors_recovered", self._random.choice(("null", self._integer(*count)))),
            ("duration_seconds", self._random.choice(("3.5", "0.30000000000000004", self._number()))),
            ("session_quality", self._number()),
            ("quality_tier", self._one_of(QUALITY_TIERS)),
            ("quality_tier_reason", self._odd_text()),
            ("training_eligible", self._boolean()),
        ]
        outcome = self._object(required + self._some(optional))
        return [("type", self._text("SESSION_CLOSE")), ("metadata", self._metadata()), ("outcome", outcome)]

    def _feedback(self) -> _Members:
        required: _Members = [("signal", self._one_of(FEEDBACK_SIGNALS)), ("timestamp", self._timestamp())]
        optional: _Members = [
            ("context", self._odd_text()),
            ("target_step", self._integer(0, 50_000)),
            ("revision_rounds", self._integer(0, 2**53 - 1)),
            ("delta_summary", self._random.choice(("null", self._odd_text()))),
        ]
        return [
            ("type", self._text("USER_FEEDBACK")),
            ("feedback", self._object(required + self._some(optional))),
        ]

    # Values

    def _object(self, members: Sequence[tuple[str, str]]) -> str:
        """An object in any order, sometimes with a name twice or names that no schema knows."""
        written = list(members)
        if self._random.random() < 0.1:
            written.append((self._documents.name(), self._anything()))
        self._random.shuffle(written)
        if self._random.random() < 0.03:
            self._is_plain = False
            name, value = self._random.choice(written)
            wrong = self._random.random() < 0.5
            other = self._anything() if wrong else self._random.choice((value, value, "null", "1", '"thought"'))
            written.insert(self._random.randrange(len(written) + 1), (name, other))
        return self._documents.object_literal(written, self._style)

    def _some(self, members: _Members) -> _Members:
        return [member for member in members if self._random.random() < 0.5]

    def _text(self, text: str) -> str:
        return self._documents.text_literal(text, self._style)

    def _odd_text(self) -> str:
        return self._text(self._documents.text())

    def _one_of(self, words: Sequence[str]) -> str:
        word = self._random.choice(words) if self._random.random() > 0.01 else "unheard-of"
        return self._text(word)

    def _boolean(self) -> str:
        return self._random.choice(("true", "false"))

    def _integer(self, low: int, high: int) -> str:
        value = self._random.choice((low, high, self._random.randint(low, high), self._random.randint(low, high)))
        kind = self._random.random()
        if kind < 0.01:
            return str(self._random.choice((low - 1, high + 1, 2**64, 10**30, -(10**30))))
        if kind < 0.02:
            self._is_plain = False
            return self._random.choice((f"{value}.0", f"{value}e0", f"{value}.5", f"{value}0e-1", "-0"))
        return str(value)

    def _number(self) -> str:
        number = self._documents.number()
        if self._random.random() < 0.9 and abs(float(number)) == float("inf"):
            return "0.1"
        self._is_plain &= abs(float(number)) != float("inf")
        return number

    def _share(self) -> str:
        return self._random.choice(("0", "1", "1.0", "0.4932", "1e-7", "5e-324", "0.99999999999999999999", "-0", "1E0"))

    def _timestamp(self) -> str:
        at = NOW_S - self._random.randrange(600_000) / 1000
        return self._random.choice(
            (f"{at}", f"{at:.17g}", f"{at:e}", f"{int(at)}", f"{int(at * 1000)}", f"{at * 1000:.6f}", f"{at / 10}e1")
        )

    def _anything(self) -> str:
        return self._documents.any_text().decode()


def fields_of(value: Any, decoded: Any) -> Any:
    """The part of `value` where `decoded` has fields, in the same shape; None for a member that is absent."""
    if isinstance(decoded, dict):
        assert isinstance(value, dict)
        return {name: fields_of(value.get(name), inner) for name, inner in decoded.items()}
    if isinstance(decoded, list):
        assert isinstance(value, list)
        assert len(value) == len(decoded)
        return [fields_of(item, inner) for item, inner in zip(value, decoded, strict=True)]
    return value

"""What is cut to its bound and scrubbed afterwards holds no half of a secret, wherever the cut falls."""

import json
from collections.abc import Iterator

import pytest

from actors.curation.scrubbing.spans import PLACEHOLDERS
from central_command.client.contract import scrubbing, steps
from central_command.client.contract.chunking import encode_step
from central_command.client.contract.scrubbing import StepScrubber
from central_command.client.contract.steps import Step, StepList, cut_noted

CHARS_MAX = 3_000
FILLER = "and then the parser reads a line of the table, and counts it\n" * 200
PIECE_CHARS = 5
"""So many characters of a secret in a row are a part of it."""

PEM = "\n".join(
    [
        "-----BEGIN RSA PRIVATE KEY-----",
        *(f"{'MIIEowIBAAKCAQEAu1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0'[n % 7 :]}{n:02d}x" for n in range(20)),
        "-----END RSA PRIVATE KEY-----",
    ]
)
SECRETS = {
    "email": ("write to {} or not", "wilhelmina.vandersteen@foldline-archive.io"),
    "phone": ("phone: {} at night", "+49 171 2345678"),
    "ip": ("from {} to here", "203.107.113.219"),
    "ipv6": ("from {} to here", "2a02:8108:96c0:5a7e:31c4:77ff:fe12:9ab4"),
    "ssn": ("ssn: {}, he said", "536-90-4399"),
    "card": ("card {} of hers", "4556 7375 8689 9855"),
    "AWS key": ("key {} is", "AKIAZQ3DRSTUVWXY2345"),
    "AWS secret": ("AKIAZQ3DRSTUVWXY2345 aws_secret_access_key = {}\n", "wJa1rXUtnFEMI0K7MDENGxbPxRfiCYzzQEXAMP3KLm"),
    "private key": ("\n{}\n", PEM),
    "provider's key": ("key {} is", "ghp_x8Kq2LmZr4Tn6Wv1Yb3Cd5Ef7Gh9Jk0MpQsU"),
    "JWT": (
        "is {} then",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    ),
    "bearer": ("Authorization: Bearer {}\n", "q7Zt3Xw9Lk2Pv8Rm5Bn1Jh6Gd4Fs0Ac"),
    "password": ('password = "{}"\n', "M41lp01Dx2hjfF1Kz"),
    "URL": ("see {} there", "postgres://jane:Zx81kPq72LmQ@db.foldline.io:5432/prod"),
    "path": ("in {}/src/app.py", "/home/wilhelmina-vandersteen"),
}
"""Each where it stands, and what of it must not be left."""


def pieces_of(secret: str) -> set[str]:
    """Its parts, but for those that placeholders have as well."""
    parts = {secret[at : at + PIECE_CHARS] for at in range(len(secret) - PIECE_CHARS + 1)}
    return {part for part in parts if part not in " ".join(PLACEHOLDERS)}


def places(secret: str) -> Iterator[int]:
    """How far into a secret the cut falls, also directly before and behind it, and behind what it is known by."""
    yield from sorted({0, 1, len(secret) // 4, len(secret) // 2, 3 * len(secret) // 4, len(secret) - 1, len(secret)})


def text_with(said: str, secret: str, into: int, *, at_tail: bool) -> str:
    """A text whose cut falls so many characters into the secret: at its head's end, or at its tail's beginning."""
    before, _, behind = said.partition("{}")
    whole = FILLER[:9_000]
    _, left_out = cut_noted(whole, CHARS_MAX)
    assert left_out is not None
    seam = len(whole) - left_out.tail_chars if at_tail else left_out.head_chars
    start = seam - into - len(before)
    text = f"{whole[:start]}{before}{secret}{behind}"
    return text + whole[len(text) :]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are cut to fewer characters."""
    for module in (steps, scrubbing):
        monkeypatch.setattr(module, "CONTENT_CHARS_MAX", CHARS_MAX)
    monkeypatch.setattr(steps, "ARGUMENTS_CHARS_MAX", CHARS_MAX)


def read(text: str, *, as_arguments: bool) -> Step:
    """The step that a reader makes of it."""
    made = StepList()
    if as_arguments:
        made.add_action(1.0, "Write", {"content": text}, "call_1")
    else:
        made.add("observation", 1.0, text)
    (step,) = made.finish()
    assert step.truncated
    return step


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("at_tail", [False, True], ids=["end of the head", "beginning of the tail"])
@pytest.mark.parametrize("as_arguments", [False, True], ids=["content", "arguments"])
@pytest.mark.parametrize("category", SECRETS)
def test_a_secret_at_the_cut_leaves_no_half_wherever_it_is_cut(
    category: str, *, as_arguments: bool, at_tail: bool
) -> None:
    said, secret = SECRETS[category]
    parts = pieces_of(json.dumps(secret)[1:-1] if as_arguments else secret)
    shift = len('{"content":"') if as_arguments else 0
    for into in places(secret):
        text = text_with(said, secret, into, at_tail=at_tail)
        if as_arguments and not at_tail:
            text = text[shift:]
        sent = encode_step(StepScrubber().step(read(text, as_arguments=as_arguments)))
        left = sorted(part for part in parts if part in str(json.loads(sent)))
        assert left == [], f"cut {into} characters into it"


@pytest.mark.usefixtures("short")
def test_what_is_beside_a_cut_is_never_sent_and_what_is_sent_is_as_long_as_before() -> None:
    step = read("x" * 9_000, as_arguments=False)
    assert step.left_out is not None
    scrubbed = StepScrubber().step(step)
    assert scrubbed.left_out is None
    assert encode_step(step) == encode_step(scrubbed)
    assert b"left_out" not in encode_step(step)
    assert (len(step.content), step.original_token_count) == (CHARS_MAX, 2_250)


def test_what_is_remembered_beside_a_cut_is_bounded() -> None:
    """Also of a text of 64 MB."""
    step = read("z" * 64_000_000, as_arguments=False)
    assert step.left_out is not None
    assert len(step.left_out.behind_head) == len(step.left_out.before_tail) == steps.BESIDE_CHARS_MAX

"""Node.js as the judge of JSON: one process reads all texts from stdin and says of each what its JSON.parse finds."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest

NODE = shutil.which("node")

needs_node = pytest.mark.skipif(NODE is None, reason="Node.js is not on the PATH: nothing to compare with")

_RUN_S_MAX = 120.0

# Each line in is a text in base64. JSON.stringify writes no line breaks and escapes lone surrogates, so each line out
# is what it wrote. Depth is counted without recursion, because JSON.parse takes any.
_PROGRAM = r"""
const { readFileSync, writeSync } = require('node:fs');
const [mode] = process.argv.slice(1);
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

function depthOf(value) {
  let depth = 0;
  let level = [value];
  for (;;) {
    level = level.filter((each) => each !== null && typeof each === 'object');
    if (level.length === 0) return depth;
    depth += 1;
    level = level.flatMap((each) => Object.values(each));
  }
}

function canonical(bytes) {
  const value = JSON.parse(utf8.decode(bytes));
  if (isObject(value)) delete value.attestation;
  return JSON.stringify(value);
}

function verdict(bytes) {
  let value;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch (error) {
    return JSON.stringify({ valid: false });
  }
  const depth = depthOf(value);
  const told = { valid: true, object: isObject(value), depth, value: depth < 1000 ? value : null };
  // Infinity has no text of its own in JSON.
  const shown = (_, each) => (each === Infinity || each === -Infinity ? { infinite: String(each) } : each);
  return JSON.stringify(told, shown);
}

const answer = { canonical, verdict }[mode];
const lines = readFileSync(0, 'latin1').split('\n');
const answers = lines.map((line) => answer(Buffer.from(line, 'base64')));
const out = Buffer.from(answers.join('\n') + '\n');
for (let at = 0; at < out.length; ) at += writeSync(1, out, at);
"""


class Verdict(NamedTuple):
    """What Node.js says of a text: whether it is UTF-8 and JSON, an object, how deep, and its value.

    Every number of the value is the double that Node.js has, as a float, and of a name that occurs twice the last value
    counts. It is None beyond 1,000 levels.
    """

    is_valid: bool
    is_object: bool = False
    depth: int = 0
    value: Any = None


def stringified(texts: Iterable[bytes]) -> list[bytes]:
    """`JSON.stringify(JSON.parse(text))` without the top-level member `attestation`; every text must be JSON."""
    return _answers("canonical", texts)


def verdicts(texts: Iterable[bytes]) -> list[Verdict]:
    """What Node.js says of each text."""
    return [_verdict(answer) for answer in _answers("verdict", texts)]


def without_lone_surrogates(value: Any) -> Any:
    """The value with U+FFFD for each lone surrogate, as the server decodes it; names too."""
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [without_lone_surrogates(each) for each in value]
    if isinstance(value, dict):
        return {without_lone_surrogates(name): without_lone_surrogates(each) for name, each in value.items()}
    return value


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _verdict(answer: bytes) -> Verdict:
    told = json.loads(answer, parse_int=float, object_hook=_infinity_for_its_word)
    if not told["valid"]:
        return Verdict(is_valid=False)
    return Verdict(is_valid=True, is_object=told["object"], depth=int(told["depth"]), value=told["value"])


def _infinity_for_its_word(members: dict[str, Any]) -> Any:
    return float(members["infinite"]) if members.keys() == {"infinite"} else members


def _answers(mode: str, texts: Iterable[bytes]) -> list[bytes]:
    assert NODE is not None
    lines = [base64.b64encode(text) for text in texts]
    run = subprocess.run(
        [NODE, "-e", _PROGRAM, mode],
        input=b"\n".join(lines),
        capture_output=True,
        timeout=_RUN_S_MAX,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    answers = run.stdout.split(b"\n")[:-1]
    assert len(answers) == len(lines), "one answer for each text"
    return answers

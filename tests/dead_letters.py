"""What a line of `refused/` holds of the envelope, read as docs/format.md says, without the product's own reader."""

import base64
import json
import zlib
from typing import Any


def body_of(letter: dict[str, Any]) -> bytes:
    """The envelope that was refused, byte for byte; the letter must have it, in one way."""
    (way,) = {"body", "body_deflate"} & letter.keys()
    if way == "body":
        text: str = letter["body"]
        return text.encode("utf-8", "surrogatepass")
    return zlib.decompress(base64.b64decode(letter["body_deflate"], validate=True))


def with_body_changed(line: bytes, old: bytes, new: bytes) -> bytes:
    """A letter's line that holds another envelope, as a string; its checksum is as it was."""
    letter = json.loads(line)
    body = body_of(letter)
    assert old in body
    held = next(way for way in ("body", "body_deflate") if way in letter)
    was = json.dumps({held: letter[held]}, ensure_ascii=False, separators=(",", ":"))[1:-1].encode()
    assert was in line
    text = json.dumps(body.replace(old, new, 1).decode(), ensure_ascii=False)
    return line.replace(was, b'"body":' + text.encode())

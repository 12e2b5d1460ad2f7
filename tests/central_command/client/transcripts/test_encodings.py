"""Session files in other encodings are read as the same text."""

import gzip
from pathlib import Path

import pytest

from central_command.client.transcripts.opening import open_transcript
from central_command.client.transcripts.reader import decode_json

TEXT = '{"text":"Grüße \U0001f600"}\r\n' * 20_000


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_text_of_another_encoding_is_read_as_utf_8(encoding: str, tmp_path: Path) -> None:
    """By its mark, or by its first character; also where it is compressed, too."""
    for name, data in (("plain", TEXT.encode(encoding)), ("packed", gzip.compress(TEXT.encode(encoding)))):
        (tmp_path / name).write_bytes(data)
        with open_transcript(tmp_path / name) as file:
            assert file.read() == TEXT.encode()
            file.seek(0)
            assert file.readline() == TEXT[: TEXT.index("\n") + 1].encode()


def test_big_endian_with_its_mark(tmp_path: Path) -> None:
    """As other systems write it."""
    (tmp_path / "s").write_bytes(b"\xfe\xff" + TEXT.encode("utf-16-be"))
    with open_transcript(tmp_path / "s") as file:
        assert file.read() == TEXT.encode()


def test_a_bad_unit_costs_a_character(tmp_path: Path) -> None:
    """Half of a surrogate pair, half of a unit at the end; in UTF-8 a byte that is none."""
    (tmp_path / "s").write_bytes(b"\xff\xfe" + '{"a":"'.encode("utf-16-le") + b"\x00\xd8" + '"}'.encode("utf-16-le"))
    with open_transcript(tmp_path / "s") as file:
        assert file.read().decode() == '{"a":"\ufffd"}'
    assert decode_json(b'{"a":"caf\xe9 \xc3\xa9","n":1.0}') == {"a": "caf\ufffd \u00e9", "n": 1}
    assert decode_json(b'{"a":"\xed\xa0\x80"}') == {"a": "\ud800"}

"""Names that are no text: shown, kept, and read back."""

import os
from pathlib import Path

import pytest

from central_command.client.uploading.names import kept_key, kept_path, path_of, shown_path


@pytest.mark.parametrize("name", [b"/a/b.jsonl", "/grün/ü%41.jsonl".encode(), b"/a/\xff\x9b%41 ?#.jsonl", b"/\xc3/x"])
def test_a_kept_path_is_text_and_leads_to_the_same_file(name: bytes) -> None:
    """A path that is text is kept as it is."""
    path = Path(os.fsdecode(name))
    kept = kept_path(path)
    kept.encode()
    assert path_of(kept) == path
    assert kept == str(path) or kept.startswith("file:///")


def test_a_path_is_shown_whole_and_on_one_line() -> None:
    """However long."""
    assert shown_path(Path(os.fsdecode(b"/" + b"n" * 1_000 + b"/\xff\n\x1b"))) == "/" + "n" * 1_000 + r"/\xff\x0a\x1b"


def test_ids_that_cannot_be_kept_are_told_apart_by_their_hash() -> None:
    """No text, or longer than anything that names something."""
    assert kept_key("0199-abc") == "0199-abc"
    assert kept_key("") == ""
    odd = [kept_key(key) for key in ("\ud83d", "\ud83e", "x" * 5_000, "x" * 5_001)]
    assert len(set(odd)) == 4
    assert all(key.isascii() and len(key) == 71 for key in odd)

"""Names that stand twice in an object, at any depth and however they are written."""

import pytest

from actors.envelopes.repeated_names import has_repeated_name


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        b'{"a":1 , "b":{} , "a" :1}',
        b'[0,{"x":[{"y":{"a":1,"\\u0061":1}}]}]',
        b'{"":1,"":1}',
        b'{"\\ud83d":1,"\\uD83D":1}',
        '{"é":1,"\\u00e9":2}'.encode(),
    ],
)
def test_a_name_that_stands_twice_is_found(text: bytes) -> None:
    assert has_repeated_name([b"1", text])


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":{"a":{"a":1}},"A":1}',
        b'[{"a":1},{"a":1}]',
        b'{"a":"\\"a\\":1,\\"a\\":2","b":"{\\"a\\":1,\\"a\\":1}"}',
        b'"a"',
        b'{"n":1e400,"m":-%s}' % (b"9" * 5_000),
        b'{"\\ud83d":1,"\\ud83e":1}',
        b"[" * 200 + b"]" * 200,
    ],
)
def test_what_only_looks_like_it_is_none(text: bytes) -> None:
    assert not has_repeated_name([text, text])

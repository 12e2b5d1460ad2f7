"""What is typed is read as a query, or refused in one sentence, and is never an error of FTS5's."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_command.search.queries import QueryError, Term, folded, read_query, words_of


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("fsync failed", '("fsync") AND ("failed")'),
        ('"no space left"', '("no space left")'),
        ("conn*", '("conn" *)'),
        ('"group com"*', '("group com" *)'),
        ("disk -full", '(("disk")) NOT ("full")'),
        ("a OR b c", '("a" OR "b") AND ("c")'),
        ("or", '("or")'),
        ("foo_bar.baz", '("foo bar baz")'),
        ("Résumé", '("resume")'),
        ("re\u0301sume\u0301", '("resume")'),
        ('-"all gone" here', '(("here")) NOT ("all gone")'),
        ("--- one ***", '("one")'),
        ("a*b", '("a b")'),
        ("NEAR(a b)", '("near a") AND ("b")'),
        ("text:word", '("text word")'),
    ],
)
def test_words_are_read_as_one_expression(text: str, expression: str) -> None:
    assert read_query(text).expression == expression


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no letter and no digit"),
        ("?! ***", "no letter and no digit"),
        ("-word", "only what must not be there"),
        ('"open', "does not close"),
        ("OR word", "one is missing"),
        ("word OR", "one is missing"),
        ("a OR OR b", "one is missing"),
        ("a OR -b", "not before one that is not"),
        ("ab*", "at least 3 letters"),
        ("w " * 33, "more than 32 terms"),
        ("w" * 1_001, "longer than 1,000 characters"),
    ],
)
def test_what_is_no_query_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(QueryError, match=sentence):
        read_query(text)


@given(st.text(max_size=200) | st.text(alphabet='ab"*-() OR^:+{}\x00\ud800é', max_size=60))
def test_no_text_is_an_error_in_sqlite(text: str) -> None:
    try:
        query = read_query(text)
    except QueryError:
        return
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE steps USING fts5 (text, content = '')")
    for expression in (query.expression, *query.words):
        assert connection.execute("SELECT rowid FROM steps WHERE steps MATCH ?", (expression,)).fetchall() == []
    connection.close()


@given(st.text(max_size=100))
def test_folding_keeps_the_length_and_separates_as_the_index_does(text: str) -> None:
    assert all(len(folded(character)) == 1 for character in text)
    assert all(character.isalnum() or not character.isascii() for word in words_of(text) for character in word)


def test_a_term_is_what_its_words_are() -> None:
    assert Term(("a", "b"), is_prefix=True).phrase == '"a b" *'

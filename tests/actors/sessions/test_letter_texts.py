"""What is shown of a dead letter's envelope: all of it, but no contributor's id."""

import pytest

from actors.sessions.letter_desk import without_ids

ID = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f'{{"contributor_id":"{ID}","x":1}}', '{"contributor_id":"con_01","x":1}'),
        (f'{{"contributor_id" : "{ID.upper()}"}}', '{"contributor_id" : "con_01"}'),
        (f'{{"note":"of {ID}!","contributor_id":"{ID}"}}', '{"note":"of con_01!","contributor_id":"con_01"}'),
        (f'{{"contributor_id":"{ID}","sha":"{OTHER}"}}', f'{{"contributor_id":"con_01","sha":"{OTHER}"}}'),
        (f'{{"contributor_id":"{ID}","sha":"{ID}00"}}', f'{{"contributor_id":"con_01","sha":"{ID}00"}}'),
        (f'{{"sha":"{ID}"}}', f'{{"sha":"{ID}"}}'),
        ('{"contributor_id":7}', '{"contributor_id":7}'),
        ("no JSON", "no JSON"),
    ],
)
def test_an_id_is_replaced_wherever_it_stands_and_nothing_else_is(text: str, shown: str) -> None:
    assert without_ids(text, lambda contributor_id: f"con_{contributor_id[:2].lower()}") == shown

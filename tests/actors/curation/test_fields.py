"""Fields of work: what is embedded of a trajectory, how a cosine becomes a tag, and that the real model finds them."""

import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.curation.fields import FIELDS, TEXT_CHARS_MAX, FieldTag, FieldTags, embedded_text, field_tags
from actors.embedding.embedding import DIMENSIONS
from actors.embedding.engine import Engine
from tests.actors.curation.trajectory_lines import call, prompt, thought, trajectory


def test_every_field_has_a_name_and_a_description_of_its_own() -> None:
    assert 40 <= len(FIELDS) <= 50
    assert len(set(FIELDS.values())) == len(FIELDS)
    for name, description in FIELDS.items():
        assert name.replace("_", "").isalpha()
        assert name.islower()
        assert 60 <= len(description) <= 200
        assert description.endswith(".")


def test_what_is_embedded_are_the_first_prompts_the_files_and_the_tools() -> None:
    made = trajectory(
        prompt("Fix the  login\nform"),
        thought("The secret thought of the agent"),
        call("Read", "contents of the file", file_path="/home/someone/w/login.tsx"),
        call("Edit", file_path="C:\\w\\auth.ts", old_string="a", new_string="b"),
        call("mcp__accounts__look_up", file="/w/login.tsx"),
        prompt("Thanks"),
        prompt("said by a hook", source="hook"),
    )
    assert embedded_text(made) == "Fix the login form Thanks\nlogin.tsx auth.ts\nmcp__accounts__look_up"


@given(st.lists(st.text(max_size=400), max_size=6), st.lists(st.text(max_size=200), max_size=30))
def test_what_is_embedded_is_bounded(prompts: list[str], files: list[str]) -> None:
    steps: list[Any] = [*map(prompt, prompts), *(call(file[:30] or "Read", path=file * 9) for file in files)]
    assert len(embedded_text(trajectory(*steps))) <= TEXT_CHARS_MAX


def test_of_nothing_nothing_is_embedded() -> None:
    assert embedded_text(trajectory()) == ""


def test_the_nearest_three_are_the_tags_and_their_confidence_is_that_of_the_cosine() -> None:
    fields = {
        "none": [-1.0, 0.0],
        "own": [0.6, 0.8],
        "other": [0.3, 0.9539392014169457],
        "far": [0.1, 0.99498743710662],
    }
    tags = field_tags([2.0, 0.0], fields)
    assert tags == FieldTags(FieldTag("own", 1.0), FieldTag("other", 0.5), None)
    assert field_tags([2.0, 0.0], fields, confidence_min=0.6) == FieldTags(FieldTag("own", 1.0), None, None)


def test_of_equally_near_fields_the_first_in_the_alphabet_is_nearer() -> None:
    tags = field_tags([1.0], {"b": [1.0], "c": [1.0], "a": [1.0], "d": [1.0]})
    assert [tag and tag.domain for tag in (tags.primary, tags.secondary, tags.tertiary)] == ["a", "b", "c"]


def test_embeddings_that_say_nothing_have_no_tags() -> None:
    assert field_tags([0.0, 0.0], {"a": [1.0, 0.0]}) == FieldTags(None, None, None)
    assert field_tags([1.0], {}) == FieldTags(None, None, None)
    with pytest.raises(ValueError, match="zip"):
        field_tags([1.0, 0.0], {"a": [1.0]})


SESSIONS = {
    "web_frontend": ("The dropdown component in our React app does not re-render when props change.", "Dropdown.tsx"),
    "databases": ("This query takes 40 seconds, add an index to the PostgreSQL orders table.", "0042_orders.sql"),
    "compilers": ("Teach the parser operator precedence, and emit LLVM IR for the new syntax tree nodes.", "parser.rs"),
    "cryptography": ("Replace AES-CBC with AES-GCM and derive the encryption key with HKDF.", "cipher.go"),
    "machine_learning_training": ("The loss is NaN after 200 steps of fine-tuning, clip the gradients.", "train.py"),
    "embedded": ("Read the temperature sensor over I2C on the STM32, debounce the GPIO interrupt.", "main.c"),
    "containers": ("Make the Docker image smaller, fix the Kubernetes pod that is in CrashLoopBackOff.", "Dockerfile"),
    "payments_and_commerce": ("Customers are charged twice when Stripe retries the payment webhook.", "billing.rb"),
    "concurrency": ("There is a deadlock: two threads take the same locks in another order.", "pool.cpp"),
    "games": ("The player falls through the floor of the second level in Unity when the game starts.", "Player.cs"),
}


def test_the_real_model_finds_the_fields_of_clear_sessions(real_engine: Engine) -> None:
    """Ten sessions, each with its prompt, a file and the usual tools."""

    def embedded(text: str) -> Sequence[float]:
        tokens = real_engine.tokenise(text)
        return struct.unpack(f"<{DIMENSIONS}f", real_engine.run([[tokens]], len(tokens))[0])

    fields = {name: embedded(description) for name, description in FIELDS.items()}
    found = {}
    for name, (said, file) in SESSIONS.items():
        made = trajectory(prompt(said), call("Read", file_path=f"/w/{file}"), call("Bash", command="ls"))
        found[name] = field_tags(embedded(embedded_text(made)), fields).primary
    assert {name: tag.domain if tag else None for name, tag in found.items()} == {name: name for name in SESSIONS}
    assert all(tag is not None and tag.confidence >= 0.15 for tag in found.values()), found

import subprocess
import sys

import pytest

from actors.curation.domains import KEYWORDS, DomainTagger
from tests.server_process import REPOSITORY


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        ("journalism", "Write a lead paragraph about the city council vote on [EMAIL] proposed budget"),
        ("journalism", "The reporter asked the mayor's spokesperson for a quote."),
        ("journalism", "Draft a PRESS RELEASE"),
        ("code", "def double(x): return x + x  # python"),
        ("code", "Why does this raise TypeError: 'NoneType' object is not callable?"),
        ("code", "Port the parser from C++ to Rust"),
        ("research", "A literature-review of sleep studies, with p-values and sample sizes"),
        ("research", "The hypothesis was tested in a randomized experiment"),
        ("planning", "A roadmap for the next quarter, with milestones and a deadline for each deliverable"),
        ("planning", "Turn these action items into a schedule for the week"),
        ("general", "What do you cook when it rains?"),
        ("general", "codependent newsworthiness planetary researches"),  # holds keywords in part only
        ("general", "a story"),  # one hint is none
        ("general", ""),
    ],
)
def test_a_text_is_of_the_domain_of_its_words(domain: str, text: str) -> None:
    assert DomainTagger().tag(text) == domain


def test_a_repeated_word_does_not_outweigh_what_a_text_is_about() -> None:
    text = "Fix the bug: the parser raises TypeError in a unit test of the api endpoint. " + "story " * 100
    assert DomainTagger().tag(text) == "code"


def test_the_first_domain_wins_between_equals() -> None:
    assert DomainTagger().tag("journalist dockerfile") == "journalism"
    assert DomainTagger().tag("dockerfile journalist") == "journalism"
    assert list(KEYWORDS) == ["journalism", "code", "research", "planning"]


def test_a_long_text_is_judged_by_its_beginning() -> None:
    assert DomainTagger().tag("x " * 50_000 + "traceback refactor pytest " * 1_000) == "general"
    assert DomainTagger().tag("traceback " + "x " * 10_000_000) == "code"


def test_no_word_has_two_weights_in_a_domain() -> None:
    for domain, by_weight in KEYWORDS.items():
        words = [word for words in by_weight for word in words.split()]
        assert sorted({word for word in words if words.count(word) > 1}) == [], domain


def test_importing_it_loads_nothing_but_the_standard_library() -> None:
    code = "import sys; import actors.curation.domains; print('numpy' in sys.modules, 'msgspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"

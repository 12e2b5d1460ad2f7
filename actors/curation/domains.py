"""Which of five domains a text is of, by the words in it.

Each domain has words and phrases with a weight: 3 for what hardly stands elsewhere, 2 for what is typical, 1 for a
hint. Words count whole, in any case, also with a plural's `s`. The same one counts three times at most, so that a text
is not of the domain of whatever it repeats. The domain with the most weight is the text's; with less than 3 it is
`general`, and of two with the same weight the one named first in `KEYWORDS`. The same text always gets the same domain.
Only the first 100,000 characters are looked at, which bounds the time to some hundredths of a second.
"""

import re
from collections import Counter
from typing import Final

DOMAINS_VERSION: Final = 1
"""Raised whenever a text may get another domain."""

GENERAL: Final = "general"
WEIGHT_MIN: Final = 3
SAME_MAX: Final = 3
CHARS_MAX: Final = 100_000

KEYWORDS: Final[dict[str, tuple[str, str, str]]] = {
    "journalism": (
        # weight 3
        """
        journalist journalism newsroom headline byline dateline newspaper lede op-ed editorial-board press-release
        press-conference lead-paragraph breaking-news fact-check news-article news-story city-council off-the-record
        on-the-record investigative-reporting feature-story nut-graf
        """,
        # weight 2
        """
        reporter editor editorial correspondent columnist news story-pitch article interview interviewee quote
        press anchor broadcast publication spokesperson spokeswoman spokesman mayor senator governor council election
        allegation eyewitness headline-writer embargo copyedit newsletter city-hall
        """,
        # weight 1
        """
        vote voter lawmaker official statement source coverage column politician campaign police court ordinance
        resident community budget public paragraph publish story
        """,
    ),
    "code": (
        """
        traceback stacktrace stack-trace refactor refactoring javascript typescript python golang kotlin c++ c#
        segfault nullpointerexception typeerror valueerror keyerror importerror syntaxerror dockerfile kubernetes
        pull-request unit-test regex stdout stderr npm pip pytest async def elif println printf middleware webpack
        merge-conflict null-pointer git github gitlab backend frontend codebase compiler
        """,
        """
        function code bug debug debugging compile algorithm api endpoint repository repo commit branch merge
        variable parameter parse parser json yaml sql database query schema runtime exception server client css html
        react django flask node java rust php ruby bash shell script deploy deployment docker linter lint import
        boolean integer string array struct enum await const return loop recursion library framework callback
        thread mutex cache test-suite
        """,
        """
        class method object error test build install package module file command terminal log version interface type
        input output crash config patch host port request response
        """,
    ),
    "research": (
        """
        hypothesis methodology literature-review peer-review peer-reviewed p-value meta-analysis systematic-review
        sample-size control-group regression-analysis confidence-interval statistically-significant arxiv doi
        dissertation placebo double-blind null-hypothesis et-al randomized randomised
        """,
        """
        research researcher study experiment empirical dataset citation cite abstract findings scientific scientist
        theory theoretical survey journal thesis academic statistical correlation causation replicate replication
        cohort clinical-trial qualitative quantitative laboratory bibliography variance biology physics chemistry
        neuroscience
        """,
        """
        analysis analyze analyse evidence data paper conclusion result participant measure measurement observation
        significant sample model review evaluate comparison literature university
        """,
    ),
    "planning": (
        """
        roadmap milestone deliverable gantt okr kanban sprint-planning project-plan action-item action-items
        to-do-list todo-list meeting-agenda go-to-market critical-path work-breakdown
        """,
        """
        plan planning schedule timeline deadline agenda sprint backlog stakeholder prioritize prioritise priority
        objective strategy strategic budgeting allocate allocation quarterly quarter kickoff retrospective standup
        itinerary checklist milestones rollout due-date next-step meeting-notes
        """,
        """
        goal task phase step meeting team resource scope risk estimate calendar week month owner assign launch budget
        organize organise coordinate dependency initiative
        """,
    ),
}
"""By domain, the words of weight 3, 2 and 1; a phrase has a hyphen for each of its spaces or hyphens."""

_WORD: Final = re.compile(r"[^\W_]++(?:[+#]++)?")


def _weights() -> dict[str, dict[str, int]]:
    weights: dict[str, dict[str, int]] = {}
    for domain, by_weight in KEYWORDS.items():
        for weight, words in zip((3, 2, 1), by_weight, strict=True):
            for word in words.split():
                weights.setdefault(word, {})[domain] = weight
    return weights


_WEIGHTS: Final = _weights()
_PHRASE_WORDS_MAX: Final = max(word.count("-") for word in _WEIGHTS) + 1
_PHRASE_STARTS: Final = frozenset(word.partition("-")[0] for word in _WEIGHTS if "-" in word)


class DomainTagger:
    """Tells the domain of a text: journalism, code, research, planning or general. Safe from any thread."""

    def tag(self, text: str) -> str:
        """The domain of a text, as the module says."""
        weights = dict.fromkeys(KEYWORDS, 0)
        for word, times in _found(text[:CHARS_MAX]).items():
            for domain, weight in _WEIGHTS[word].items():
                weights[domain] += weight * min(times, SAME_MAX)
        domain = max(weights, key=weights.__getitem__)
        return domain if weights[domain] >= WEIGHT_MIN else GENERAL


def _found(text: str) -> Counter[str]:
    """The keywords of a text and how often each occurs; of phrases also the words, which have weights of their own."""
    words = _WORD.findall(text.lower())
    found = Counter(known for word in words if (known := _known(word)) is not None)
    for place, word in enumerate(words):
        if word in _PHRASE_STARTS:
            for end in range(place + 2, min(place + _PHRASE_WORDS_MAX, len(words)) + 1):
                if (phrase := _known("-".join(words[place:end]))) is not None:
                    found[phrase] += 1
    return found


def _known(word: str) -> str | None:
    """The keyword that a word or phrase is, or is the plural of."""
    if word in _WEIGHTS:
        return word
    return word[:-1] if word.endswith("s") and word[:-1] in _WEIGHTS else None

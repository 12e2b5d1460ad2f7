from central_command.training.notice import NOTICE


def test_another_text_is_another_version() -> None:
    """Events of consent name a version and a hash: people agreed to this text, to the letter."""
    assert (NOTICE.version, NOTICE.sha256) == (
        "1.0",
        "e7d489be4706acbcaed752e831938fa45907259e3679f6c1db1a4c1d5c26576a",
    )


def test_the_notice_says_all_that_the_contract_asks_for() -> None:
    """Section 3.1: what is collected, what for, what is scrubbed, how to opt out, how to delete; and that it is off."""
    for words in (
        "prompts",
        "completions",
        "metadata of workflows",
        "train mixture-of-experts models",
        "replaced by placeholders",
        "email",
        "telephone",
        "keys and tokens",
        "paths of files",
        "How to opt out",
        "How to delete",
        "off unless you turn it on",
    ):
        assert words in " ".join(NOTICE.text.split())

"""What is said before anybody is asked, as it is hashed into events of consent."""

import hashlib
from typing import Final

import msgspec


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A text that people are shown, in a language (BCP 47), and the purposes that they agree to."""

    version: str
    language: str
    purposes: tuple[str, ...]
    text: str

    @property
    def sha256(self) -> str:
        """The hash of the text in UTF-8, 64 hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()


NOTICE: Final = Notice(
    version="1.0",
    language="en",
    purposes=("train expert models to improve Groove",),
    text="""\
Share usage data to improve Groove

What is collected: your prompts, the completions that you get, whole conversations, and metadata of workflows (names of
models, numbers of tokens, times, kinds of work).
What for: to train mixture-of-experts models that improve Groove.
What is taken out first: before anything is stored, personal data and secrets are replaced by placeholders: email
addresses, telephone numbers, IP addresses, social security numbers, payment cards, keys and tokens, paths of files,
and URLs that hold secrets. That finds forms, not meanings: names of people, for instance, stay.
Where it is: on this machine alone, under a random id that says nothing of you. Nothing is sent anywhere.
How to opt out: turn the setting off, or run `central-command consent withdraw`, at any time. Capture stops at once.
How to delete: choose deletion in the settings, or run `central-command data --delete`, and all of it is deleted.
It is off unless you turn it on.
""",
)

"""Where everything is below the data directory."""

from pathlib import Path

import msgspec

from persistence.format.records import JournalName


class DataLayout(msgspec.Struct, frozen=True):
    """The paths below one data directory."""

    root: Path

    @property
    def sessions_database(self) -> Path:
        """The session registry, the index and the counters."""
        return self.root / "sessions.db"

    @property
    def ledger_database(self) -> Path:
        """The credits and balances."""
        return self.root / "ledger.db"

    @property
    def corpus_database(self) -> Path:
        """What the corpus holds, and how far curation has come; curation alone writes it."""
        return self.root / "corpus.db"

    @property
    def search_database(self) -> Path:
        """The index of the corpus; it may be deleted at any time, and is made anew."""
        return self.root / "search.db"

    @property
    def access_database(self) -> Path:
        """The tokens; is there once one was made."""
        return self.root / "access.db"

    @property
    def jobs_database(self) -> Path:
        """What is done in the background; is there once a server has run."""
        return self.root / "jobs.db"

    @property
    def keys(self) -> Path:
        """The folder of the master key."""
        return self.root / "keys"

    @property
    def models(self) -> Path:
        """The folder of what embedding caches; it may be deleted at any time."""
        return self.root / "models"

    @property
    def torn(self) -> Path:
        """The folder of what recovery cut off."""
        return self.root / "torn"

    @property
    def erasing(self) -> Path:
        """The folder of what jobs of erasure have to remember until they are done."""
        return self.root / "erasing"

    @property
    def retention(self) -> Path:
        """Up to where what is past its time was erased."""
        return self.root / "retention.json"

    @property
    def observer(self) -> Path:
        """Up to where the observer has read its file of corrections."""
        return self.root / "observer.json"

    @property
    def closing(self) -> Path:
        """Which large sessions are being closed, and which are put aside because that ended the process."""
        return self.root / "closing.json"

    def last_success(self, command: str) -> Path:
        """When this command (`backup`, `verify`) last went well."""
        return self.root / f"last_{command}.json"

    @property
    def exports(self) -> Path:
        """The folder of exports that were asked for over HTTP, unless a setting names another one."""
        return self.root / "exports"

    def journal(self, name: JournalName) -> Path:
        """The folder of a journal's daily files."""
        return self.root / name

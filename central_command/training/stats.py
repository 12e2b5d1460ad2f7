"""What the corpus of this machine holds."""

import sys
import time
from collections import Counter
from typing import Any, Final

from central_command.training.consent import ConsentManager
from central_command.training.corpus import TrainingCorpus
from persistence.format.times import day_of

_DAY_S: Final = 86_400
_MB: Final = 1_000_000


class CorpusStats:
    """Figures of a corpus; each method reads all of its files once. Raises OSError and TrainingDataError."""

    def __init__(self, corpus: TrainingCorpus, consent_manager: ConsentManager) -> None:
        self._corpus = corpus
        self._consent = consent_manager

    def __repr__(self) -> str:
        return f"<CorpusStats of {self._corpus!r}>"

    def summary(self) -> dict[str, Any]:
        """`{"total_records", "storage_size_mb", "opted_in_users", "domains"}`: MB of 10^6 bytes, records by domain."""
        domains = self._domains()
        return {
            "total_records": domains.total(),
            "storage_size_mb": round(self._corpus.size_bytes() / _MB, 2),
            "opted_in_users": self._consent.get_opted_in_count(),
            "domains": dict(domains.most_common()),
        }

    def daily_growth(self, days: int = 7) -> list[dict[str, Any]]:
        """`[{"date": "2026-04-26", "records": 142}, …]`: the last UTC days, today last, also those without a record."""
        by_day: Counter[str] = Counter()
        for (day, _), count in self._corpus.counts().items():
            by_day[day] += count
        now = time.time()
        dates = [day_of(now - back * _DAY_S) for back in reversed(range(days))]
        return [{"date": date, "records": by_day[date]} for date in dates]

    def domain_breakdown(self) -> dict[str, Any]:
        """`{"journalism": {"count": 50, "percentage": 33.3}, …}`: domains that occur, the most frequent first."""
        domains = self._domains()
        return {
            domain: {"count": count, "percentage": round(100 * count / domains.total(), 1)}
            for domain, count in domains.most_common()
        }

    def print_report(self) -> None:
        """Print the figures on standard output."""
        sys.stdout.write("\n".join(self._report()) + "\n")

    def _report(self) -> list[str]:
        summary = self.summary()
        return [
            "Training data",
            f"  records         {summary['total_records']:,}",
            f"  storage         {summary['storage_size_mb']:,.2f} MB",
            f"  opted-in users  {summary['opted_in_users']:,}",
            "Domains",
            *(
                f"  {domain:<14}  {each['count']:>9,}  {each['percentage']:>5.1f} %"
                for domain, each in self.domain_breakdown().items()
            ),
            "Last 7 days",
            *(f"  {each['date']}      {each['records']:>9,}" for each in self.daily_growth()),
        ]

    def _domains(self) -> Counter[str]:
        domains: Counter[str] = Counter()
        for (_, domain), count in self._corpus.counts().items():
            domains[domain] += count
        return domains

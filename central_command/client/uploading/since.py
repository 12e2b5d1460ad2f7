"""Which of the files that were found an upload looks at."""

from collections.abc import Sequence

from central_command.client.uploading.history import History
from central_command.client.uploading.options import Options
from central_command.client.uploading.progress import Printing
from central_command.client.uploading.report import describe_passed_over
from central_command.client.uploading.sources import Found, changed_since


def recent(files: Sequence[Found], history: History, options: Options, printing: Printing) -> list[Found]:
    """The files that --since leaves, and those that an earlier upload has begun; says how many it does not."""
    if options.since_s is None:
        return list(files)
    left = changed_since(files, options.since_s, besides=history.unfinished_paths() if options.resume else ())
    if passed_over := len(files) - len(left):
        printing.tell(describe_passed_over(passed_over, options.since_s))
    return left

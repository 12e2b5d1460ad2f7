"""Coverage-guided fuzzing of the reader and the writer with atheris, for as long as wanted.

    python -m venv fuzzing && fuzzing/bin/pip install atheris msgspec cryptography
    PYTHONPATH=. fuzzing/bin/python tests/fuzz/atheris_target.py -max_total_time=600

Arguments are libFuzzer's. It starts from the bodies of `seeds` when no folder is named. An input that breaks an
invariant is written to `crash-...`: mend the product, and keep the input in `tests/fuzz/found/` under a name that says
what it is, where `test_fuzz.py` takes it up. atheris is no dependency: it has wheels for few platforms.
"""

import sys
import tempfile
from pathlib import Path

try:
    import atheris  # type: ignore[import-untyped,unused-ignore]
except ImportError:
    sys.exit("atheris is not installed here; tests/fuzz/test_fuzz.py checks the same invariants with Hypothesis.")

with atheris.instrument_imports():
    from tests.fuzz.invariants import check_all
    from tests.fuzz.seeds import SMALL, TOKENS, client_bodies


def main() -> None:
    """Fuzz until the time is over or an invariant breaks."""
    with tempfile.TemporaryDirectory() as folder:
        for number, body in enumerate((*SMALL, *client_bodies())):
            (Path(folder) / f"seed-{number}").write_bytes(body)
        words = Path(folder).with_suffix(".dict")
        words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n' for token in TOKENS))
        has_corpus = any(not argument.startswith("-") for argument in sys.argv[1:])
        corpus = [] if has_corpus else [folder]
        atheris.Setup([sys.argv[0], f"-dict={words}", *sys.argv[1:], *corpus], check_all)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

"""The engine on ONNX Runtime. Importing this takes a tenth of a second: only the loading thread does."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from actors.embedding.embedding import DIMENSIONS
from actors.embedding.engine import ModelError, TokenIds, UnknownTokenError
from actors.embedding.onnx_runtime import InferenceSession, RunOptions, SessionOptions
from actors.embedding.settings import TEXT_TOKENS_MAX

log = logging.getLogger("central_command.embedding")

_NEVER_GIVEN = re.compile(r"\[unused[0-9]+\]|\[PAD\]")
"""Entries of the vocabulary that stand for nothing: those kept free for others to train, and what fills a row up."""

_WARM_UP_TEXT = "health check"
_NORM_TOLERANCE = 1e-3
_ERRORS_ONLY = 3


class OnnxEngine:
    """A session of ONNX Runtime and the model's tokeniser."""

    def __init__(self, graph: Path | bytes, tokenizer: bytes, *, threads: int) -> None:
        # The tokeniser would start a thread a core for lists of texts; here it is given one text at a time.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer)
        except Exception as error:  # the library raises nothing more specific
            log.exception("tokenizer.json cannot be used")
            raise ModelError("tokenizer.json cannot be used; the log holds the details.") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(TEXT_TOKENS_MAX)
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self._is_given = bytearray(max(vocabulary.values()) + 1)
        for name, token in vocabulary.items():
            self._is_given[token] = _NEVER_GIVEN.fullmatch(name) is None
        ends: list[int] = self._tokenizer.encode("").ids
        self._first_token, self._last_token = ends
        self._session = InferenceSession(
            graph if isinstance(graph, bytes) else str(graph),
            _session_options(threads),
            providers=["CPUExecutionProvider"],
        )
        self._run_options = RunOptions()
        self._warm_up()

    def tokenise(self, text: str) -> TokenIds:
        """Return the text's tokens."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def with_ends(self, tokens: TokenIds) -> TokenIds:
        """Return tokens with those that mark the ends; raises UnknownTokenError."""
        for token in tokens:
            if not 0 <= token < len(self._is_given) or not self._is_given[token]:
                raise UnknownTokenError(token)
        inner = list(tokens)
        if inner[0] == self._first_token and inner[-1] == self._last_token:
            inner = inner[1:-1]
        return [self._first_token, *inner[: TEXT_TOKENS_MAX - 2], self._last_token]

    def run(self, rows: Sequence[Sequence[TokenIds]], width: int) -> list[bytes]:
        """Return each text's unit vector; raises when ONNX Runtime fails or is stopped."""
        feed = {name: np.zeros((len(rows), width), np.int32) for name in ("input_ids", "position_ids", "text_ids")}
        text = 0
        for row, texts in enumerate(rows):
            begin = 0
            for tokens in texts:
                text += 1
                place = slice(begin, begin := begin + len(tokens))
                feed["input_ids"][row, place] = tokens
                feed["position_ids"][row, place] = range(len(tokens))
                feed["text_ids"][row, place] = text
        self._run_options = RunOptions()
        self._run_options.log_severity_level = _ERRORS_ONLY
        [vectors] = self._session.run(None, feed, self._run_options)
        # A damaged weight shows as a vector that is no unit vector; such a one must not reach a client or the cache.
        if not (np.abs(np.einsum("ij,ij->i", vectors, vectors) - 1) < _NORM_TOLERANCE).all():
            raise FloatingPointError("The model computed a vector that is no unit vector.")
        return [vector.tobytes() for vector in vectors.astype("<f4", copy=False)]

    def stop(self) -> None:
        """Set the flag that ONNX Runtime looks at between two operators."""
        self._run_options.terminate = True

    def _warm_up(self) -> None:
        """Run once, so that memory is there before the first request, and a graph of another kind is found out."""
        try:
            tokens = self.tokenise(_WARM_UP_TEXT)
            [vector] = self.run([[tokens]], len(tokens))
        except Exception as error:  # whatever it is, this model cannot serve
            log.exception("the model was loaded but does not work")
            raise ModelError("The model was loaded but does not work; the log holds the details.") from error
        assert len(vector) == DIMENSIONS * 4


def _session_options(threads: int) -> SessionOptions:
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Patterns of memory are kept for each shape ever seen, and shapes are many here.
    options.enable_mem_pattern = False
    # Threads that wait for work must sleep: a spinning one takes a core from ingestion.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options

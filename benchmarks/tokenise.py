#!/usr/bin/env python3
"""What does it cost to turn text into token ids, by the compiled code and by the tokenizers library?

    python -m benchmarks.tokenise [FILE...] [--attacks FILE...] [--requests 3000] [--rounds 7] [--json]

The text views of all windows that the screen leaves of the requests, each once a round, one at a time and 32 at a time.
The ways take turns; CPU time of the process; microseconds a window.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

from benchmarks.shared.figures import Report, arguments, conditions, rounded, run, spread
from benchmarks.shared.traffic import load, source_of
from vedette.parsing.pipeline import ParsingPipeline
from vedette.tokenization.http_tokenizer import windows_of
from vedette.tokenization.text_view import view

BATCHES = (1, 32)


def measure(options: argparse.Namespace) -> Report:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # as in the service
    from tokenizers import Tokenizer

    from vedette.bundle import load_model

    requests, _ = load(options, options.requests)
    pipeline = ParsingPipeline()
    fields = [field for request in requests for field in pipeline.parse(request).fields]
    texts = list(dict.fromkeys(view(window.text) for field in fields for window in windows_of(field)))
    if not texts:
        raise SystemExit("the screen leaves nothing of these requests to tokenise")
    tokenizer = load_model().tokenizer
    library = Tokenizer.from_str(tokenizer.to_json())
    library.encode_special_tokens = True
    ways: dict[str, Callable[[list[str]], object]] = {
        "service": tokenizer.encode_texts,
        "library": lambda batch: [one.ids for one in library.encode_batch_fast(batch, add_special_tokens=False)],
    }
    report = conditions(
        requests=f"{len(requests)}, {source_of(options)}", windows=len(texts), rounds=options.rounds, seed=options.seed
    )
    costs: dict[str, dict[str, list[float]]] = {name: {} for name in ways}
    for _ in range(options.rounds):
        for batch in BATCHES:
            for name, encode in ways.items():
                costs[name].setdefault(f"batch_{batch}", []).append(_round(encode, texts, batch) / len(texts))
    tokens = sum(map(len, tokenizer.encode_texts(texts)))
    return {
        "conditions": report,
        "tokens_per_window": rounded(tokens / len(texts)),
        "characters_per_window": rounded(sum(map(len, texts)) / len(texts)),
        **{name: {batch: spread(values) for batch, values in by.items()} for name, by in costs.items()},
    }


def _round(encode: Callable[[list[str]], object], texts: list[str], batch: int) -> float:
    """CPU microseconds for all of `texts`."""
    batches = [texts[start : start + batch] for start in range(0, len(texts), batch)]
    began = time.process_time_ns()
    for some in batches:
        encode(some)
    return (time.process_time_ns() - began) / 1000


def parser() -> argparse.ArgumentParser:
    options = arguments(__doc__, requests=3000)
    options.add_argument("--rounds", type=int, default=7, help="rounds (default: %(default)s)")
    return options


if __name__ == "__main__":
    run(measure, parser())

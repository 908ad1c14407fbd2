"""Texts read in one call of C get the answers that tokenizer, runtime and scorer give one after the other."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inference.small_model import SmallRuntime, small_bundle
from tests.native_here import NATIVE_ONLY
from tests.tiny_bundle import CALIBRATION, detector, early_bundle, early_detector, tiny_bundle
from vedette.config import Settings, WafServiceSettings
from vedette.datasets.generate import GENERATORS
from vedette.errors import InferenceFailed
from vedette.http_request import HTTPRequest
from vedette.inference.engine import Engine
from vedette.inference.runtime import ModelRuntime, load_runtime
from vedette.inference.text_reader import TextReader, text_reader
from vedette.model.anomaly_detector import AnomalyDetector
from vedette.model.scoring import AnomalyScorer
from vedette.tokenization.http_tokenizer import Window

pytestmark = NATIVE_ONLY
EARLY = pytest.mark.parametrize("early", [False, True], ids=["read to the end", "early exit"])

CONTEXTS = ["query", "header more", "cookie", "path"]
TOKENIZER = tiny_bundle().tokenizer
SCORER = AnomalyScorer(tiny_bundle().config.classes, CALIBRATION)


@cache
def runtime(*, early: bool = False) -> ModelRuntime:
    return load_runtime(early_bundle() if early else tiny_bundle())


@cache
def reader(threshold: float = 0.5, *, early: bool = False) -> TextReader:
    found = text_reader(runtime(early=early), TOKENIZER, SCORER, threshold)
    assert found is not None
    return found


def one_after_the_other(
    text: str, context: str, threshold: float, *, early: bool = False
) -> tuple[float, int, int, list[float] | None]:
    best = None
    before = len(TOKENIZER.context_ids(context))
    for number, ids in enumerate(TOKENIZER.encode([Window(context, text, 0)], [text])[0]):
        output = runtime(early=early).run(np.array([ids], np.int64))
        [(score, class_index)] = SCORER.score_rows(output.logits)
        if best is None or score > best[0]:
            evidence = output.evidence[0, before:].tolist() if score >= threshold else None
            best = score, class_index, number, evidence
    assert best is not None
    return best


def in_one_go(text: str, context: str, *, early: bool = False) -> list[float]:
    """Scores of the rows of a text whose tokens see all their neighbours, in single precision."""
    words, [ids] = TOKENIZER.context_ids(context), TOKENIZER.encode_texts([text])
    short = early_detector() if early else detector()
    model = AnomalyDetector(replace(short.config, max_tokens=len(words) + len(ids))).eval()
    model.load_state_dict(short.state_dict())
    with torch.no_grad():
        odds = model.token_odds(torch.tensor([words + ids]))[0, len(words) :]
    room = TOKENIZER.max_tokens - len(words)
    starts = [0] if len(ids) <= room else TOKENIZER._starts(len(ids), room)
    attacks = torch.stack([torch.logsumexp(odds[start : start + room], dim=0) for start in starts])
    scored = SCORER.score_rows(torch.nn.functional.pad(attacks, (1, 0)).numpy())
    return [score for score, _ in scored]


def assert_alike(texts: list[str], threshold: float = 0.5, *, early: bool = False) -> None:
    contexts = [CONTEXTS[at % len(CONTEXTS)] for at in range(len(texts))]
    found = reader(threshold, early=early).read(texts, [TOKENIZER.context_ids(context) for context in contexts])
    assert TOKENIZER._native is not None
    for text, context, ids, answer in zip(texts, contexts, TOKENIZER._native.encode(texts), found, strict=True):
        if ids is None:
            assert answer is None
        elif len(ids) + len(TOKENIZER.context_ids(context)) <= TOKENIZER.max_tokens:
            assert answer == one_after_the_other(text, context, threshold, early=early)
        else:
            assert answer is not None
            scores = in_one_go(text, context, early=early)
            assert answer[0] == pytest.approx(max(scores), abs=0.01)
            assert answer[0] == pytest.approx(scores[answer[2]], abs=0.01)
            assert (answer[3] is not None) == (answer[0] >= threshold)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(st.characters(max_codepoint=0x24F, exclude_categories=["Cn", "Cs"]), max_size=90), max_size=9))
def test_any_texts(texts: list[str]) -> None:
    assert_alike(texts)


@EARLY
def test_attacks_of_every_grammar_with_and_without_evidence(*, early: bool) -> None:
    rng = random.Random(5)
    texts = [generator(rng)[:2000] for generator in GENERATORS.values() for _ in range(4)]
    for threshold in (0.0, 0.5, 1.0):
        assert_alike(texts, threshold, early=early)


@EARLY
def test_texts_of_many_rows_are_told_by_their_worst(*, early: bool) -> None:
    long = "harmless words " * 60
    assert_alike([long + "' or 1=1 -- " + long, long, "", "<b>alert(1)</b>" + long, "select name"], early=early)


def test_what_only_the_library_can_encode_is_left_to_it() -> None:
    unknown = "\U0001f600 select"
    found = reader().read(["id=1", unknown, "\ud800", "id=1"], [TOKENIZER.context_ids("query")] * 4)
    assert found[1] is None
    assert found[2] is None
    assert found[0] == found[3] == one_after_the_other("id=1", "query", 0.5)


def test_a_context_that_is_none_is_a_named_failure() -> None:
    for ids in ([0], [TOKENIZER.vocab_size], [1] * 61):
        with pytest.raises(InferenceFailed, match="outside the vocabulary"):
            reader().read(["id=1"], [ids])


def test_threads_share_a_reader() -> None:
    texts = [f"select {number} from users where id = '{number}'" * (1 + number % 40) for number in range(48)]
    wanted = [reader().read([text], [[1]]) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: reader().read([text], [[1]]), texts)) == wanted


def test_an_engine_says_the_same_with_and_without() -> None:
    request = HTTPRequest("GET", "/a?q=<b>alert(1)</b>&r=%F0%9F%98%80+<b>' or 1=1&s=" + "'or+1=1+" * 300)
    verdicts = []
    for with_reader in (True, False):
        engine = Engine(tiny_bundle(), runtime(), Settings(waf_service=WafServiceSettings(threshold=0.2)))
        if not with_reader:
            engine._reader = None
        verdicts.append(engine.check(request))
    one, other = verdicts
    assert one.findings
    assert one.anomaly_score == pytest.approx(other.anomaly_score, abs=0.01)
    assert [finding.name for finding in one.findings] == [finding.name for finding in other.findings]


def test_there_is_none_for_another_backend() -> None:
    bundle = small_bundle()
    assert text_reader(SmallRuntime(), bundle.tokenizer, bundle.scorer, 0.5) is None

"""The tokenizer: files, windows and rows that leave nothing out, spans that lead back to the value."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import BundleError
from vedette.parsing.field import Field
from vedette.tokenization.context import CONTEXT_WORDS, context_of
from vedette.tokenization.http_tokenizer import HTTPTokenizer, Window, windows_of
from vedette.tokenization.screen import hot_spots
from vedette.tokenization.text_view import SourceMap, view
from vedette.verdict import LOCATIONS

TEXTS = ["select name from users where id = 1", "<script>alert(1)</script>", "../../etc/passwd", "${jndi:ldap://x}"]
TOKENIZER = HTTPTokenizer.train(TEXTS * 5, vocab_size=600, max_tokens=32)
PIECES = st.sampled_from(
    ["'", "<b>", "word ", "x" * 40, "9" * 12, "=" * 15, "select ", "\u0130", "\u00e9", "../", "\n", "a1"]
)
LONG_TEXT = st.lists(st.tuples(PIECES, st.integers(1, 400)), max_size=12).map(lambda p: "".join(t * n for t, n in p))


def test_files_round_trip(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path / "vocabulary.json")
    loaded = HTTPTokenizer.load(tmp_path / "vocabulary.json", max_tokens=32)
    assert (loaded.sha256, loaded.vocab_size, loaded.to_json()) == (
        TOKENIZER.sha256,
        TOKENIZER.vocab_size,
        TOKENIZER.to_json(),
    )
    windows = [Window("query other", text, 0) for text in TEXTS]
    assert loaded.encode(windows) == TOKENIZER.encode(windows)


@pytest.mark.parametrize("text", ["", "{}", "nonsense", '{"model": 1}'])
def test_a_file_that_is_no_vocabulary_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(BundleError):
        HTTPTokenizer.load(tmp_path / "v.json")
    with pytest.raises(BundleError):
        HTTPTokenizer.load(tmp_path / "missing.json")


@pytest.mark.parametrize("word", ["[pad]", "[query]", "[id]"])
def test_a_text_cannot_spell_padding_or_context(word: str) -> None:
    words = len(CONTEXT_WORDS)
    assert all(token > words for token in TOKENIZER.encode_texts([f"a{word}<b>{word}"])[0])


@settings(max_examples=60, deadline=None)
@given(st.lists(LONG_TEXT, max_size=3))
def test_rows_cover_every_token(texts: list[str]) -> None:
    windows = [Window("query other more", text[:4000], 0) for text in texts]
    for window, rows, ids in zip(
        windows, TOKENIZER.encode(windows), TOKENIZER.encode_texts([view(w.text) for w in windows]), strict=True
    ):
        context = TOKENIZER.context_ids(window.context)
        assert all(len(row) <= TOKENIZER.max_tokens and row[: len(context)] == context for row in rows)
        covered = rows[0][len(context) :]
        for row in rows[1:]:
            piece = row[len(context) :]
            overlap = next(n for n in range(len(piece), 0, -1) if covered[-n:] == piece[:n])
            covered += piece[overlap:]
        assert len(covered) <= len(ids)
        assert covered[-10:] == ids[-10:]


@settings(max_examples=60, deadline=None)
@given(LONG_TEXT)
def test_every_hot_spot_lies_in_a_window(text: str) -> None:
    field = Field("query", "q", text)
    windows = windows_of(field)
    for window in windows:
        assert text[window.offset : window.offset + len(window.text)] == window.text
    read = [(window.offset, window.offset + len(window.text)) for window in windows]
    for start, end in hot_spots(text) if windows else []:
        for at in {start, (start + end) // 2, end - 1}:
            assert any(low <= at < high for low, high in read)


@settings(max_examples=100, deadline=None)
@given(st.one_of(LONG_TEXT, st.text(max_size=200)))
def test_the_view_is_no_longer_than_the_text_and_maps_back(text: str) -> None:
    text = text[:3000]
    seen, source = view(text), SourceMap(text)
    assert len(seen) <= len(text)
    for start in range(0, len(seen), max(1, len(seen) // 20)):
        low, high = source.source(start, min(start + 5, len(seen)))
        assert 0 <= low <= high <= len(text)


@given(st.text("xyz9=- \n", max_size=60), st.text("xyz9=- \n", max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_what_is_found_in_the_view_is_found_in_the_text(before: str, after: str, digits: int, letters: int) -> None:
    text = before + "8" * digits + " <Script> " + "q" * letters + after
    at = view(text).index("<script>")
    low, high = SourceMap(text).source(at, at + 8)
    assert text[low:high] == "<Script>"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a" * 40, "aaaaaa"),
        ("iif \t (  1\t\t= 2 )", "iif ( 1 = 2 )"),
        ("a:\n    b  c", "a:\n    b c"),
        ("select\r\n\n \r\n\t1\n\n2", "select\n\n1\n\n2"),
        ("1663226755", "000000"),
        ("140b66f7-fdd5-4444-8888-4e2470057711", "\u2026"),
        ("rO0ABXNyABFqYXZhLnV0aWw", "ro0abx\u2026aww"),
        ("some_function_name_that_is_quite_long_indeed", "some_function_\u2026g_indeed"),
        ("2,14,37,99,120,4,5,6,7", "2,14,3\u2026,7"),
        ("union select 1,2,3,4,5,6,7,8-- -", "union select 1,2,3,\u2026-- -"),
        ("x=1,2,3,4,5,6,7,8;id", "x=1,2,3,\u2026;id"),
        ("1e00000000000000000000000000000000000union select 2", "\u2026union select 2"),
        ("192.168.0.1:8080 x1y2 2022-09-14", "192.168.0.1:8080 x1y2 2022-09-14"),
    ],
)
def test_what_the_model_sees_of_runs(text: str, seen: str) -> None:
    assert view(text) == seen


def test_spans_lead_to_the_characters_of_the_value() -> None:
    value = "a " * 40 + "9" * 40 + " <script>alert(1)</script>"
    window = Window("query other", value[10:], 10)
    rows = TOKENIZER.encode([window])[0]
    seen = ""
    for row, ids in enumerate(rows):
        spans = TOKENIZER.spans(window, row)
        assert len(spans) == len(ids)
        assert spans[:2] == [(0, 0), (0, 0)]
        assert all(10 <= start <= end <= len(value) for start, end in spans[2:])
        seen = value[spans[2][0] : spans[-1][1]]
    assert seen.endswith("<script>alert(1)</script>")


@settings(max_examples=100, deadline=None)
@given(LONG_TEXT | st.text(max_size=60), st.data())
def test_the_span_of_a_range_is_that_of_its_tokens(text: str, data: st.DataObject) -> None:
    window = Window("query other", text[:2048], 5)
    for row, ids in enumerate(TOKENIZER.encode([window])[0]):
        spans = TOKENIZER.spans(window, row)
        start = data.draw(st.integers(2, len(ids)))
        end = data.draw(st.integers(start, len(ids)))
        found = TOKENIZER.span(window, row, start, end)
        if start == end:
            assert found is None
        else:
            assert found == (spans[start][0], spans[end - 1][1])


@given(st.sampled_from(LOCATIONS), st.text(max_size=80), st.lists(st.text(max_size=10), max_size=5), st.booleans())
def test_every_context_is_in_the_vocabulary(location: str, name: str, decoded_by: list[str], is_name: bool) -> None:
    context = context_of(Field(location, name, "x", tuple(decoded_by), "name" if is_name else "value"))
    assert set(context.split(" ")) <= set(CONTEXT_WORDS)
    assert TOKENIZER.context_ids(context)

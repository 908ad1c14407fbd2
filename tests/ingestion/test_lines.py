"""Lines come out the same however the blocks are cut, and none is longer than allowed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.ingestion.lines import LineSplitter, RawLine


def split(blocks: list[bytes], limit: int = 100) -> list[RawLine]:
    splitter = LineSplitter(limit)
    lines = [line for block in blocks for line in splitter.feed(block)]
    last = splitter.finish()
    return lines if last is None else [*lines, last]


def test_lines_are_numbered_and_the_last_needs_no_line_feed() -> None:
    assert split([b"a\n\nb", b"c\nd"]) == [RawLine(1, b"a"), RawLine(2, b""), RawLine(3, b"bc"), RawLine(4, b"d")]


def test_a_line_over_the_limit_keeps_its_start_only() -> None:
    assert split([b"x" * 60] * 5 + [b"\nnext\n"]) == [RawLine(1, b"x" * 100, too_long=True), RawLine(2, b"next")]
    assert split([b"x" * 101 + b"\nnext\n"]) == [RawLine(1, b"x" * 100, too_long=True), RawLine(2, b"next")]


@settings(max_examples=200, deadline=None)
@given(
    data=st.lists(st.sampled_from([b"a", b"\n", b"bcd", b"\x00", b"\r\n"]), max_size=60).map(b"".join),
    cut=st.integers(1, 9),
)
def test_the_cuts_between_blocks_do_not_show(data: bytes, cut: int) -> None:
    blocks = [data[i : i + cut] for i in range(0, len(data), cut)]
    lines = split(blocks, limit=5)
    whole = data.split(b"\n")
    whole = whole[:-1] if whole[-1] == b"" else whole
    assert [line.data for line in lines] == [line[:5] for line in whole]
    assert [line.too_long for line in lines] == [len(line) > 5 for line in whole]
    assert [line.number for line in lines] == list(range(1, len(whole) + 1))

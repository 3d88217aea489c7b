"""Answers as models write them, clean, odd and broken: the same blocks however they are cut."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from anyclaude.tools.families import FAMILIES
from anyclaude.types import JsonObject
from tests.tools.families.kit import CORPUS, OPENED, THINK, blocks, cuts, read, shown

THINKING = {"start": THINK, "opened": OPENED, "": None}
NO_CORPUS = {"prose"}


@dataclass(frozen=True)
class Case:
    family: str
    name: str
    text: str
    thinking: str
    expect: list[JsonObject]


def cases() -> Iterator[Case]:
    for path in sorted(CORPUS.glob("*.jsonl")):
        if path.stem in NO_CORPUS:
            continue
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            yield Case(
                row.get("dialect", path.stem),
                row["name"],
                row["text"],
                row.get("thinking", ""),
                row["expect"],
            )


CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}: {case.name}")
def test_corpus(case: Case) -> None:
    dialect, thinking = FAMILIES[case.family], THINKING[case.thinking]
    whole = read(dialect, [case.text], thinking=thinking)
    assert blocks(whole) == case.expect
    assert read(dialect, list(case.text), thinking=thinking) == whole
    for seed in range(5):
        assert read(dialect, cuts(case.text, seed), thinking=thinking) == whole
    if thinking is None:
        assert case.text.rstrip() == shown(whole).rstrip()


def test_every_family_has_a_corpus_that_is_large_enough() -> None:
    sizes = Counter(case.family for case in CASES)
    assert sizes.keys() == FAMILIES.keys()
    assert all(size >= 40 for size in sizes.values()), sizes
    assert len({(case.family, case.name) for case in CASES}) == len(CASES)

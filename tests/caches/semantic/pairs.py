"""Pairs of questions: with different answers, though they look alike, and with the same one."""

from __future__ import annotations

from pathlib import Path

Pair = tuple[str, str]


def _read(name: str) -> tuple[Pair, ...]:
    lines = Path(__file__).with_name(name).read_text().splitlines()
    pairs = [line.split("\t") for line in lines]
    return tuple((one, other) for one, other in pairs)


ADVERSARIAL = _read("adversarial.tsv")
PARAPHRASES = _read("paraphrases.tsv")

"""Who wrote a thinking block."""

from __future__ import annotations

from anyclaude.backends.signatures import Origin, SignatureLedger
from anyclaude.types import ThinkingBlock

HERE, THERE = Origin("a", "m"), Origin("b", "m")


def test_a_block_is_known_by_its_text_whatever_signature_it_got() -> None:
    ledger = SignatureLedger()
    ledger.remember(HERE, "hm")
    assert ledger.origin(ThinkingBlock("hm", "made up later")) == HERE
    assert ledger.origin(ThinkingBlock("hm!", "")) is None


def test_a_signature_says_more_than_the_text() -> None:
    ledger = SignatureLedger()
    ledger.remember(HERE, "hm")
    ledger.remember(THERE, "hm", "signed")
    ledger.remember(HERE, "hm")
    assert ledger.origin(ThinkingBlock("hm", "signed")) == THERE
    assert ledger.origin(ThinkingBlock("hm", "")) == HERE


def test_a_redacted_block_has_only_its_signature() -> None:
    ledger = SignatureLedger()
    ledger.remember(THERE, "", "opaque")
    assert ledger.origin(ThinkingBlock("", "opaque")) == THERE
    assert ledger.origin(ThinkingBlock("", "")) is None


def test_it_is_bounded_and_keeps_what_is_asked_about() -> None:
    ledger = SignatureLedger(limit=2)
    for text in ("a", "b"):
        ledger.remember(HERE, text)
    assert ledger.origin(ThinkingBlock("a", "")) == HERE
    ledger.remember(HERE, "c")
    assert len(ledger) == 2
    assert ledger.origin(ThinkingBlock("a", "")) == HERE
    assert ledger.origin(ThinkingBlock("b", "")) is None


def test_a_lone_surrogate_is_no_trouble() -> None:
    ledger = SignatureLedger()
    ledger.remember(HERE, "\ud800")
    assert ledger.origin(ThinkingBlock("\ud800", "")) == HERE

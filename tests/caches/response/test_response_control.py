"""What requests may say of the caches."""

from __future__ import annotations

import math

import pytest

from anyclaude.caches.response.control import CacheControl, NotCached, control_of, header_value
from anyclaude.types import Tier


@pytest.mark.parametrize(
    ("value", "control"),
    [
        ("", CacheControl()),
        ("no-cache", CacheControl(read=False)),
        ("no-store", CacheControl(write=False)),
        ("private", CacheControl(private=True)),
        ("NO-CACHE , No-Store", CacheControl(read=False, write=False)),
        ("max-age=60", CacheControl(max_age=60)),
        ('max-age="60"', CacheControl(max_age=60)),
        ("max-age=0", CacheControl(max_age=0)),
        ("max-age=soon", CacheControl(max_age=0)),
        ("max-age=-1", CacheControl(max_age=0)),
        ("max-age=²", CacheControl(max_age=0)),
        ("max-age", CacheControl(max_age=0)),
        ("only-if-cached, max-age=5", CacheControl(only_if_cached=True, max_age=5)),
        ("max-stale, no-transform,,", CacheControl()),
    ],
)
def test_the_words(value: str, control: CacheControl) -> None:
    assert control_of([("Cache-Control", value)]) == control
    assert control_of([("X-Anyclaude-Cache-Control", value)]) == control


def test_our_own_header_goes_before_the_standard_one() -> None:
    headers = [("cache-control", "no-cache"), ("x-anyclaude-cache-control", "max-age=5")]
    assert control_of(headers) == CacheControl(max_age=5)
    assert control_of([("accept", "no-store")]) == CacheControl()


def test_several_lines_of_one_header_are_one() -> None:
    headers = [("cache-control", "no-cache"), ("Cache-Control", "no-store")]
    assert control_of(headers) == CacheControl(read=False, write=False)
    assert CacheControl().max_age == math.inf


def test_the_headers_value() -> None:
    assert header_value(Tier.RESPONSE, "ab12", 12.9) == "tier=response; age=12; key=ab12"
    assert header_value(None, "ab12") == "key=ab12"
    assert (
        header_value(Tier.SEMANTIC, "ab12", 0, 0.98123)
        == "tier=semantic; age=0; similarity=0.981; key=ab12"
    )
    assert NotCached().status == 504 and not NotCached().retryable

"""The ``model`` of a JSON body, written anew without touching any other byte."""

from __future__ import annotations

import json
import re

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def with_model(body: bytes, model: str) -> bytes:
    """``body`` with ``model`` as each value of a top-level key ``"model"``.

    Without such a key, or when it isn't a JSON object, ``body`` itself: upstream says why it won't
    do.
    """
    text = body.decode("utf-8", "surrogateescape")
    try:
        spans = _model_spans(text)
    except (ValueError, RecursionError):
        return body
    written = json.dumps(model)
    for start, end in reversed(spans):
        text = text[:start] + written + text[end:]
    return text.encode("utf-8", "surrogateescape") if spans else body


def _model_spans(text: str) -> list[tuple[int, int]]:
    """Where the values stand. The parts between are skipped at the JSON decoder's own speed."""
    spans: list[tuple[int, int]] = []
    at = _skip(text, _expect(text, _skip(text, 0), "{"))
    more = text[at : at + 1] != "}"
    while more:
        _expect(text, at, '"')
        key, at = _DECODER.raw_decode(text, at)
        start = _skip(text, _expect(text, _skip(text, at), ":"))
        _, end = _DECODER.raw_decode(text, start)
        if key == "model":
            spans.append((start, end))
        at = _skip(text, end)
        more = text[at : at + 1] != "}"
        if more:
            at = _skip(text, _expect(text, at, ","))
    if _skip(text, at + 1) != len(text):
        raise ValueError("something after the object")
    return spans


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, char: str) -> int:
    if text[at : at + 1] != char:
        raise ValueError(f"no {char} at {at}")
    return at + 1

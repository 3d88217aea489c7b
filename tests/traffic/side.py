"""The small calls beside a conversation (wire page, section 7)."""

from __future__ import annotations

import random

from anyclaude.types import PrefixBreak
from tests.traffic import words
from tests.traffic.talk import Answers, Json, Shot, Talk, Truth

SMALL = Truth("small", frozenset({PrefixBreak.NEW_SESSION, PrefixBreak.EVICTED}))
"""A small call is a conversation of its own, each time; a look-alike of it may be held."""


def _body(model: str, text: str, system: list[str], **more: object) -> Json:
    return {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "system": [{"type": "text", "text": t} for t in system],
        "max_tokens": 400,
        "stream": True,
        **more,
    }


def title_call(talk: Talk, answers: Answers) -> Shot:
    """Sent beside a session's first request: no tools, a schema with a title."""
    mark = answers.mark('{"title": "Mend the cache"}')
    billing = words.BILLING.format(hash=talk.billing)
    instructions = words.prose(random.Random("title"), 420)
    text = f"{words.prose(talk.rng, 80)} {mark}"
    body = _body(
        "claude-haiku-4-5",
        text,
        [billing, words.IDENTITY, instructions],
        output_config={"effort": "low", "format": words.TITLE_FORMAT},
    )
    return Shot(body, talk.headers, _small("title"))


def web_search(talk: Talk, answers: Answers) -> Shot:
    """In words that leave it to the model: to Claude Code's own no model is asked."""
    mark = answers.mark("Nothing was found.")
    body = _body(
        "local-model",
        f"What does the web say of {words.prose(talk.rng, 12)} {mark}",
        [words.BILLING.format(hash=talk.billing), words.IDENTITY, "You search the web."],
        tools=[words.SEARCH_TOOL],
        tool_choice={"type": "auto"},
    )
    return Shot(body, talk.headers, _small("search"))


def model_probe(talk: Talk) -> Shot:
    """What ``/model NAME`` sends first."""
    body = {
        "model": "claude-opus-5",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 1,
    }
    return Shot(body, talk.headers, _small("probe"))


def count_burst(talk: Talk, many: int = 4) -> list[Shot]:
    """What ``/context`` sends: each part of the prompt counted, all at once."""
    shots = []
    for tool in talk.tools[:many]:
        body = {
            "model": "local-model",
            "messages": [{"role": "user", "content": words.prose(talk.rng, 20)}],
            "tools": [tool],
        }
        path = "/v1/messages/count_tokens?beta=true"
        shots.append(Shot(body, talk.headers, _small("count"), path=path))
    return shots


def _small(op: str) -> Truth:
    return Truth(op, SMALL.causes)

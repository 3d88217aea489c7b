"""Whether a person's words ask for something that only the web knows, and what to search for.

A search that nobody wanted costs time, tokens and a look at the user's words by others, so doubt
means no. Two kinds of sentences count: one that tells to look on the web, and a question about
the world outside (never the project) as it is now. Code, quotes and paths are left aside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from anyclaude.search import intent_words as words

MAX_PROMPT_CHARS = 1500
"""Longer ones are pasted texts and summaries, whose sentences are not the user's own."""
MAX_QUERY_CHARS = 200


def query_in(prompt: str) -> str:
    """What to search for, or nothing where the words don't ask for it."""
    if len(prompt) > MAX_PROMPT_CHARS or prompt.lstrip().startswith(("/", "<", "#!")):
        return ""
    parts = _compiled(words.SENTENCE).split(_compiled(words.FENCE).sub(" ", prompt))
    sentences = [part.strip() for part in parts if part.strip()]
    for place, sentence in enumerate(sentences):
        bare = _compiled(words.QUOTED).sub("…", sentence)
        bare = _compiled(words.PATH).sub("…", bare).strip()
        if _tells_to_look(bare) or _asks_of_the_world(bare):
            return _query(sentences, place)
    return ""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled once it is needed: all of them take longer than a start may."""
    return re.compile(pattern)


def _tells_to_look(sentence: str) -> bool:
    found = _compiled(words.LOOKS).search(sentence)
    return found is not None and not _compiled(words.OURS).search(found[0])


def _asks_of_the_world(sentence: str) -> bool:
    if _compiled(words.HERE).search(sentence):
        return False
    if _compiled(words.SHORT).match(sentence):
        return True
    if not _compiled(words.QUESTION).match(sentence):
        return False
    return any(_compiled(pattern).search(sentence) for pattern in words.WORLD)


def _query(sentences: Sequence[str], place: int) -> str:
    """The sentence without its command; what was said before where it says nothing else."""
    said = _compiled(words.COMMAND).sub("", sentences[place]).strip(" .?!:")
    if len(said.split()) < 3 or _compiled(words.ONLY_WHERE).search(said):
        said = " ".join([*sentences[:place], said])
    cut = " ".join(said.split())
    if len(cut) > MAX_QUERY_CHARS:
        cut = cut[:MAX_QUERY_CHARS].rpartition(" ")[0]
    return cut

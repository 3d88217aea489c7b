"""Text to tokens, remembering what was tokenised before.

A conversation grows at its end, so nearly all of its text was tokenised on the turn before. The
text is cut in front of special tokens, where tokenisers cut by themselves, and only pieces not
seen lately are encoded, in one batch call: that form releases the interpreter lock.
"""

from __future__ import annotations

import itertools
import re
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias

from anyclaude.types import Tokens

Pieces: TypeAlias = list[tuple[str, "array[int]"]]


class AddedToken(Protocol):
    """One of ``tokenizers``' added tokens."""

    content: str
    normalized: bool
    lstrip: bool
    single_word: bool


class _Encoding(Protocol):
    @property
    def ids(self) -> list[int]: ...


class RustTokenizer(Protocol):
    """The part of ``tokenizers.Tokenizer`` that is used here."""

    def encode_batch(
        self, input: Sequence[str], *, add_special_tokens: bool
    ) -> Sequence[_Encoding]: ...

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]: ...

    def no_truncation(self) -> None: ...

    def no_padding(self) -> None: ...


class HfTokenizer(Protocol):
    """The part of transformers' tokenizers that is used here."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...


_PROBE = "one two\n\n  3 {a}é\n{b}line\n{a} {b}\n{a}{b}end "
_OVERHEAD = 200  # bytes a cached piece takes besides its text and tokens


class TokenRuns:
    """Encodes text with one tokenizer; safe to use from several threads at once."""

    def __init__(self, tokenizer: HfTokenizer, *, cache_bytes: int = 64 << 20) -> None:
        self._tokenizer = tokenizer
        self._limit = cache_bytes
        self._size = 0
        self._cache: OrderedDict[str, array[int]] = OrderedDict()
        self._lock = threading.Lock()
        self._rust: RustTokenizer | None = getattr(tokenizer, "backend_tokenizer", None)
        self._splitter: re.Pattern[str] | None = None
        self._cuts: frozenset[str] = frozenset()
        if self._rust is not None:
            self._rust.no_truncation()
            self._rust.no_padding()
            self._prepare(self._rust)

    def _prepare(self, rust: RustTokenizer) -> None:
        """Finds the safe cutting points, and gives them up if this tokenizer disagrees."""
        tokens = [t for t in rust.get_added_tokens_decoder().values() if not t.normalized]
        cuts = [t.content for t in tokens if t.content and not (t.lstrip or t.single_word)]
        names = sorted((t.content for t in tokens if t.content), key=len, reverse=True)
        if cuts:
            self._splitter = re.compile("|".join(map(re.escape, names)))
            self._cuts = frozenset(cuts)
        sample = _PROBE.format(a=cuts[0] if cuts else "", b=cuts[-1] if cuts else "")
        whole = self._tokenizer.encode(sample, add_special_tokens=False)
        if list(self.encode(sample)) != whole:
            self._splitter = None
            self._cache.clear()
            if list(self.encode(sample)) != whole:
                self._rust = None
            self._cache.clear()
            self._size = 0

    def encode(self, text: str) -> Tokens:
        """The tokens of ``text``, as one call of the tokenizer would give them."""
        return join([self.pieces(text)])

    def pieces(self, text: str) -> Pieces:
        """``text`` cut where this tokenizer always cuts, with the tokens of each piece."""
        pieces = self._split(text)
        found: dict[str, array[int]] = {}
        with self._lock:
            for piece in pieces:
                if (tokens := self._cache.get(piece)) is not None:
                    self._cache.move_to_end(piece)
                    found[piece] = tokens
        missing = [piece for piece in dict.fromkeys(pieces) if piece not in found]
        if missing:
            fresh = dict(zip(missing, self._encode(missing), strict=True))
            found |= fresh
            self._remember(fresh)
        return [(piece, found[piece]) for piece in pieces]

    def starts_piece(self, text: str) -> bool:
        """Whether tokens begin where ``text`` begins, whatever is in front of it."""
        found = self._splitter.match(text) if self._splitter is not None else None
        return found is not None and found.group() in self._cuts

    def _split(self, text: str) -> list[str]:
        if not text:
            return []
        if self._splitter is None:
            return [text]
        starts = [
            match.start()
            for match in self._splitter.finditer(text)
            if match.start() and match.group() in self._cuts
        ]
        edges = [0, *starts, len(text)]
        return [text[a:b] for a, b in itertools.pairwise(edges)]

    def _encode(self, pieces: Sequence[str]) -> Iterable[array[int]]:
        if self._rust is None:
            encode = self._tokenizer.encode
            return [array("I", encode(piece, add_special_tokens=False)) for piece in pieces]
        encodings = self._rust.encode_batch(pieces, add_special_tokens=False)
        return [array("I", encoding.ids) for encoding in encodings]

    def _remember(self, fresh: dict[str, array[int]]) -> None:
        with self._lock:
            for piece, tokens in fresh.items():
                if piece not in self._cache:
                    self._cache[piece] = tokens
                    self._size += _cost(piece, tokens)
            while self._size > self._limit and self._cache:
                piece, tokens = self._cache.popitem(last=False)
                self._size -= _cost(piece, tokens)


def join(runs: Sequence[Pieces | Tokens]) -> Tokens:
    """All tokens of runs that are tokens already or text in pieces."""
    joined: array[int] = array("I")
    for run in runs:
        if isinstance(run, list):
            for _, tokens in run:
                joined.extend(tokens)
        else:
            joined.extend(run)
    return tuple(joined)


def _cost(piece: str, tokens: array[int]) -> int:
    return 2 * len(piece) + tokens.itemsize * len(tokens) + _OVERHEAD

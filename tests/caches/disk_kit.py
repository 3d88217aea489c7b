"""A disk tier for tests: its events in a list, its clocks in hand, KV that names its prefix."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable
from pathlib import Path

from anyclaude.caches.kv.disk import Blob, DiskLimits, DiskLoad, DiskTier, Kind, Piece, Run
from anyclaude.events import SystemEvent
from anyclaude.types import Tokens

SECONDS = 60.0
TOKEN_BYTES = 8
DAY = 86400.0


class Kit:
    """``tier`` in ``folder``; ``now`` is both of its clocks, ``free`` the disk's free bytes."""

    def __init__(self, folder: Path, limits: DiskLimits | None = None) -> None:
        self.folder = folder
        self.limits = limits or DiskLimits(10**9, 0)
        self.events: list[SystemEvent] = []
        self.now = 1_000 * DAY
        self.free = 10**12
        self.tier = self.make()

    def make(self) -> DiskTier:
        return DiskTier(
            self.folder,
            self.limits,
            self.events.append,
            wall=lambda: self.now,
            clock=lambda: self.now,
            free=lambda _: self.free,
        )

    def open(self, name: str = "model", *, kv: bool = True, states: bool = False) -> None:
        self.tier.open(name, kv=kv, states=states).result(SECONDS)

    def restart(self, name: str = "model", *, kv: bool = True, states: bool = False) -> None:
        self.tier.close(SECONDS)
        self.tier = self.make()
        self.open(name, kv=kv, states=states)

    def settle(self) -> None:
        self.tier.drain().result(SECONDS)

    def save(
        self, tokens: Tokens, head: int = 0, states: dict[int, int] | None = None
    ) -> list[Run]:
        """Writes what is missing, as the engine does after an answer."""
        runs = self.tier.missing(tokens, token_bytes=TOKEN_BYTES, head_tokens=head, states=states)
        for run in runs:
            assert self.tier.store(run, blob_for(run, tokens))
        self.settle()
        return runs

    def read(self, tokens: Tokens, have: int = 0) -> int:
        """Loads a prompt, checks every byte of it, and says how far it reaches."""
        promised = self.tier.match(tokens).length
        load, pieces = self.load(tokens, have)
        at = have
        for piece in pieces:
            if piece.kind is Kind.STATE:
                assert bytes(piece.blob.data) == state_of(tokens, piece.stop)
                continue
            assert piece.start == at
            assert piece.stop > at
            got = bytes(piece.blob.data)[piece.skip * TOKEN_BYTES :]
            wanted = kv_of(tokens, piece.start, piece.stop)
            assert got[: len(wanted)] == wanted
            at = piece.stop
        assert at <= max(have, promised)
        return load.reached

    def load(self, tokens: Tokens, have: int = 0) -> tuple[DiskLoad, list[Piece]]:
        woken = threading.Semaphore(0)
        load = self.tier.load(self.tier.match(tokens), have, woken.release)
        pieces = []
        while not load.finished:
            piece = load.take()
            if piece is not None:
                pieces.append(piece)
            elif not load.finished:
                assert woken.acquire(timeout=SECONDS)
        return load, pieces

    def messages(self) -> list[str]:
        assert all(event.kind == "cache" for event in self.events)
        texts = [event.message for event in self.events]
        self.events.clear()
        return texts

    def files(self, kind: str = "kv") -> list[Path]:
        return sorted(path for path in self.folder.rglob(f"{kind}-*") if path.is_file())


def tokens_of(*names: object, each: int = 100) -> Tokens:
    """A prompt of blocks; a block's tokens depend on its name alone."""
    return tuple(
        itertools.chain.from_iterable(
            hashlib.shake_128(repr(name).encode()).digest(each) for name in names
        )
    )


def kv_of(tokens: Tokens, start: int, stop: int) -> bytes:
    """Eight bytes a token that depend on all tokens up to it, as real KV does."""
    hasher = hashlib.blake2b(bytes(t % 256 for t in tokens[:start]), digest_size=TOKEN_BYTES)
    out = bytearray()
    for token in tokens[start:stop]:
        hasher.update(bytes([token % 256]))
        out += hasher.copy().digest()
    return bytes(out)


def state_of(tokens: Tokens, position: int) -> bytes:
    return b"state" + kv_of(tokens, position - 1, position)


def blob_for(run: Run, tokens: Tokens) -> Blob:
    if run.kind is Kind.STATE:
        return Blob(b"about a state", state_of(tokens, run.stop))
    return Blob(b"about", kv_of(tokens, run.start, run.stop))


MakeKit = Callable[..., Kit]

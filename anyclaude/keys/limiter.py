"""Whose key a request came with, and whether it may still use what it asks for."""

from __future__ import annotations

import hmac
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from anyclaude.config.keyfile import keys_path, own_keys, read_keys
from anyclaude.config.settings import KeySettings, Settings
from anyclaude.errors import ConfigError, PermissionDenied, RateLimited
from anyclaude.keys.counters import Counters, Exhausted, MemoryCounters
from anyclaude.keys.secret import digest_of_header

log = logging.getLogger(__name__)

LONG_WINDOW = "[1m]"
"""Claude Code's mark for the long window of a model; in a pattern it would be a class."""

_Stamp: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A virtual key that a request came with: its name, which may be logged, and its limits."""

    name: str
    limits: KeySettings


class Limiter:
    """The virtual keys of a configuration and of the file beside it, and what they may use.

    The file is read anew whenever it has changed. One that can't be read leaves the keys as they
    were, with a warning. ``clock`` is Unix time; ``required`` has the door shut from the beginning.
    """

    def __init__(
        self,
        own: Mapping[str, KeySettings],
        data_dir: Path,
        counters: Counters,
        clock: Callable[[], float] = time.time,
        *,
        required: bool = False,
    ) -> None:
        self._own = dict(own)
        self._data_dir = data_dir
        self._file = str(keys_path(data_dir))
        self._counters = counters
        self._clock = clock
        self._stamp: _Stamp | None = None
        self._keys = self._own
        self._required = required
        self._refresh()

    @classmethod
    def of(
        cls,
        settings: Settings,
        counters: Counters | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Limiter:
        """The one for these settings, counting in this process if nowhere else."""
        return cls(
            own_keys(settings),
            settings.data_dir,
            counters or MemoryCounters(),
            clock,
            required=bool(settings.keys),
        )

    @property
    def required(self) -> bool:
        """Whether a request needs a key: from the first virtual one on, until the process ends.

        Taking the last one away mustn't open the door to everybody.
        """
        self._refresh()
        return self._required

    def identify(self, offered: Iterable[str]) -> KeyInfo | None:
        """The virtual key among those that a request offers; ``None``: there is none.

        Every key is compared in full, so that the time taken tells nothing.
        """
        self._refresh()
        if not self._keys:
            return None
        digests = [digest_of_header(value) for value in offered]
        found: KeyInfo | None = None
        for name, limits in self._keys.items():
            for one in digests:
                if hmac.compare_digest(one, limits.sha256):
                    found = KeyInfo(name, limits)
        return found

    def named(self, name: str) -> KeyInfo:
        """The key of this name with its limits as they are now; none when it is gone."""
        self._refresh()
        return KeyInfo(name, self._keys.get(name, KeySettings()))

    @property
    def keys(self) -> Mapping[str, KeySettings]:
        """Every key by its name."""
        self._refresh()
        return self._keys

    def permit(self, key: KeyInfo, model: str) -> None:
        """Raises PermissionDenied when the key may not use a model by the name asked for."""
        allowed = key.limits.models
        if allowed and not any(_takes(pattern, model) for pattern in allowed):
            raise PermissionDenied(
                f"the key {key.name} may not use the model {model}; it may use {', '.join(allowed)}"
            )

    async def check(self, key: KeyInfo, model: str) -> None:
        """Counts a request for a model by the name asked for.

        Raises as :meth:`permit`, and RateLimited with the seconds to wait when the key has used
        up what it may.
        """
        self.permit(key, model)
        exhausted = await self._counters.take(key.name, key.limits, self._clock())
        if exhausted is not None:
            raise _refusal(key, exhausted)

    async def settle(self, key: KeyInfo, tokens: int, usd: float) -> None:
        """Counts what a request used in the end: tokens read and written, and dollars."""
        await self._counters.spend(key.name, key.limits, tokens, usd, self._clock())

    def _refresh(self) -> None:
        stamp = _stamp(self._file)
        if stamp != self._stamp:
            # Taken before the reading, so that a change during it is seen the next time.
            self._stamp = stamp
            try:
                # A name in both is refused when the configuration is read; there it stays.
                self._keys = {**read_keys(self._data_dir), **self._own}
            except ConfigError as error:
                log.warning("the virtual keys stay as they were: %s", error)
        self._required = self._required or bool(self._keys)


def _takes(pattern: str, model: str) -> bool:
    """Capitals or not; the client's mark for a long window may be there or missing."""
    pattern, model = pattern.lower(), model.lower()
    names = (model, model.removesuffix(LONG_WINDOW))
    return model == pattern or any(fnmatchcase(name, pattern) for name in names)


def _refusal(key: KeyInfo, exhausted: Exhausted) -> RateLimited:
    limits, seconds = key.limits, exhausted.wait_s
    match exhausted.limit:
        case "rpm":
            used, daily = f"{limits.rpm} requests a minute", False
        case "tpm":
            used, daily = f"{limits.tpm} tokens a minute", False
        case "tokens_per_day":
            used, daily = f"{limits.tokens_per_day} tokens a day", True
        case "budget_usd":
            used, daily = f"${limits.budget_usd:g} a day", True
    until = "after midnight UTC" if daily else f"in {seconds:.0f} s"
    return RateLimited(
        f"the key {key.name} has used its {used}; try again {until}",
        retry_after=seconds,
        context={"retry": False} if daily else None,
    )


def _stamp(path: str) -> _Stamp | None:
    """What changes when the file does; ``None`` when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

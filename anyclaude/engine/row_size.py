"""How much memory a row will take, before it does: from the model's shape, then from rows seen.

The bytes of a cache grow with its tokens, and never faster than at the start: windows fill up
and states don't grow at all. So a row that was seen bounds every other one: a shorter one takes
no more, a longer one no less, and no more per token.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from anyclaude.config.model_shape import ModelShape

LONGEST = 1 << 30  # Stands for no limit at all.
LEAST_SEEN = 256  # The states and rounding of shorter rows say little about longer ones.


@dataclass(slots=True)
class RowSize:
    """The sizes of one loaded model; ``itemsize`` is that of its activations and caches.

    Without a shape nothing is known until the first row was seen, and nothing is refused.
    """

    shape: ModelShape | None = None
    itemsize: int = 2
    metal: bool = False
    _seen: dict[int, tuple[int, int]] = field(default_factory=dict)

    def see(self, tokens: int, nbytes: int) -> None:
        """A row of ``tokens`` really took ``nbytes``."""
        if tokens < LEAST_SEEN or nbytes <= 0:
            return
        size = tokens.bit_length()
        old = self._seen.get(size)
        if old is None or nbytes * old[0] <= old[1] * tokens:
            self._seen = {**self._seen, size: (tokens, nbytes)}  # Others may be reading it.

    def row(self, tokens: int, chunk: int) -> int:
        """Bytes of the caches of a row of ``tokens`` prefilled by ``chunk``; 0 if unknown."""
        if tokens <= 0:
            return 0
        seen = self._seen.values()
        above = [-(-nbytes * tokens // held) if tokens > held else nbytes for held, nbytes in seen]
        if self.shape is not None:
            above.append(self.shape.kv_bytes(tokens, itemsize=self.itemsize, chunk=chunk))
        below = (nbytes for held, nbytes in seen if held <= tokens)
        return max(min(above, default=0), max(below, default=0))

    def whole(self, tokens: int, chunk: int) -> int:
        """Bytes of a row of ``tokens`` and of the work on its last chunk."""
        chunk = min(chunk, tokens)
        row = self.row(tokens, chunk)
        if self.shape is None:
            return row
        return row + self.shape.workspace_bytes(
            chunk, tokens - chunk, itemsize=self.itemsize, metal=self.metal
        )

    def longest(self, room: int, chunk: int, more: int = 0) -> int:
        """The most tokens whose row, with ``more`` added, fits ``room`` bytes."""
        if self.whole(LONGEST, chunk) <= room:
            return LONGEST
        low, high = 0, LONGEST
        while high - low > 1:
            middle = (low + high) // 2
            if self.whole(middle + more, chunk) <= room:
                low = middle
            else:
                high = middle
        return low

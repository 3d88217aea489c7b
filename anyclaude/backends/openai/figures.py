"""What is learned about models elsewhere from the usage that comes back."""

from __future__ import annotations

from collections import OrderedDict

CHARS_PER_TOKEN = 3.8
"""Of Claude Code's prompts, by a piecewise count (claude-code-wire, section 4)."""

IMAGE_TOKENS = 1_200
"""Of an image as Claude Code sends it: at most 1,568 pixels a side, 750 pixels a token."""

_NEWEST = 0.3  # the weight of one answer in the running mean
_LEAST, _MOST = 1.0, 12.0
_LEAST_TOKENS = 20  # smaller prompts are mostly the template's own
_MAX_MODELS = 256


class TokenFigures:
    """Characters per token by model: a running mean over its answers. Bounded."""

    def __init__(self) -> None:
        self._ratios: OrderedDict[str, float] = OrderedDict()

    def ratio(self, model: str) -> float:
        return self._ratios.get(model, CHARS_PER_TOKEN)

    def prompt(self, model: str, characters: int, images: int) -> int:
        """An estimate of a prompt in tokens, at least 1."""
        return max(1, round(characters / self.ratio(model)) + images * IMAGE_TOKENS)

    def learn(self, model: str, characters: int, images: int, tokens: int) -> None:
        """A prompt of so many characters and images was so many tokens. With images in it, it
        says nothing: their size varies."""
        if images or tokens < _LEAST_TOKENS or not characters:
            return
        seen = min(_MOST, max(_LEAST, characters / tokens))
        known = self._ratios.pop(model, None)
        self._ratios[model] = seen if known is None else known + (seen - known) * _NEWEST
        while len(self._ratios) > _MAX_MODELS:
            self._ratios.popitem(last=False)

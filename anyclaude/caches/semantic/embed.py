"""Vectors of texts: from weights that a package carries, or from whoever is handed in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from anyclaude.errors import ConfigError

if TYPE_CHECKING:
    from wordllama.inference import WordLlamaInference

Vector: TypeAlias = npt.NDArray[np.float32]

_WORDLLAMA_DIMENSIONS = 256


class Embedder(Protocol):
    """Makes vectors. ``name`` says of which model: vectors of two can't be compared."""

    @property
    def name(self) -> str: ...

    async def embed(self, text: str) -> Vector:
        """The text's vector, of length 1; raises ValueError for a text that has none."""
        ...


def unit(values: Sequence[float] | Vector) -> Vector:
    """The vector at length 1; raises ValueError when it has no direction."""
    vector = np.asarray(values, dtype=np.float32)
    length = float(np.linalg.norm(vector))
    if vector.ndim != 1 or not vector.size or not np.isfinite(length) or length == 0:
        raise ValueError("no vector of numbers, or one without a direction")
    return vector / np.float32(length)


class WordLlamaEmbedder:
    """The 256-dimensional vectors of the ``wordllama`` package; nothing is downloaded.

    The weights (16 MB) are read at the first text, on a thread.
    """

    name = f"wordllama-{_WORDLLAMA_DIMENSIONS}"

    def __init__(self) -> None:
        """Raises ConfigError when the package isn't installed."""
        self._folder = _wordllama_folder()
        self._model: WordLlamaInference | None = None
        self._loading = asyncio.Lock()

    async def embed(self, text: str) -> Vector:
        async with self._loading:
            if self._model is None:
                self._model = await asyncio.to_thread(_load_wordllama, self._folder)
            model: WordLlamaInference = self._model
        return unit(np.asarray(model.embed(text))[0])


class CalledEmbedder:
    """Vectors from elsewhere, such as a backend's ``/v1/embeddings``: ``call`` does the asking."""

    def __init__(self, name: str, call: Callable[[str], Awaitable[Sequence[float]]]) -> None:
        self.name = name
        self._call = call

    async def embed(self, text: str) -> Vector:
        return unit(await self._call(text))


def _wordllama_folder() -> Path:
    from importlib.util import find_spec

    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise ConfigError("cache.semantic needs wordllama: pip install 'anyclaude[semantic]'")
    return Path(spec.origin).parent


def _load_wordllama(folder: Path) -> WordLlamaInference:
    from wordllama import WordLlama

    return WordLlama.load(dim=_WORDLLAMA_DIMENSIONS, cache_dir=folder, disable_download=True)

"""A package whose own ``__init__`` runs when something of it is asked for.

``mlx_lm/__init__`` imports its converter and with it transformers, which takes longer than all
the rest of a start. The cache classes that the engine is made of need none of it; a model load
does, and by then requests are accepted.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType


class _Late(ModuleType):
    """Its submodules can be imported; the first other name runs the package's own code."""

    def __getattr__(self, name: str) -> object:
        spec = self.__spec__
        if spec is None or spec.loader is None or (name[:2] == "__" and name != "__version__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        # First, since the package imports names of its own on the way.
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec.loader.exec_module(self)
        return getattr(self, name)


def put_off(package: str) -> None:
    """Makes the import of ``package`` a late one; nothing if it is imported or not installed."""
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is not None:
        module = importlib.util.module_from_spec(spec)
        module.__class__ = _Late
        sys.modules[package] = module

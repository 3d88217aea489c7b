"""What every test package shares: a fast BLAS before MLX, and the embedded model once."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest

from anyclaude.engine.blas import load_blas

load_blas()


@pytest.fixture(scope="session")
def embedded_model_dir() -> Path:
    """The converted SmolLM2 folder, kept between runs in ``$ANYCLAUDE_TEST_CACHE``."""
    from anyclaude.engine.smollm2 import ensure_embedded

    cache = os.environ.get("ANYCLAUDE_TEST_CACHE") or platformdirs.user_cache_dir("anyclaude-tests")
    return ensure_embedded(Path(cache), lambda fraction, what: None)

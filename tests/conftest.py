"""What every test package shares: a fast BLAS before MLX, and the embedded model once."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import platformdirs
import pytest
from hypothesis import HealthCheck, settings

from anyclaude.engine.blas import load_blas

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core; two threads in each would wait for one another.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
load_blas()


def pytest_collection_finish() -> None:
    """The tests and their modules stay to the end, so no collection need walk them again."""
    gc.collect()
    gc.freeze()


# How fast a machine is beside other work decides no test.
settings.register_profile("anyclaude", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("anyclaude")


@pytest.fixture(scope="session")
def embedded_model_dir() -> Path:
    """The converted SmolLM2 folder, kept between runs in ``$ANYCLAUDE_TEST_CACHE``."""
    from anyclaude.engine.smollm2 import ensure_embedded

    cache = os.environ.get("ANYCLAUDE_TEST_CACHE") or platformdirs.user_cache_dir("anyclaude-tests")
    return ensure_embedded(Path(cache), lambda fraction, what: None)

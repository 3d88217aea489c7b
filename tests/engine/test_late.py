"""mlx_lm's own code, and transformers with it, wait for the first model."""

from __future__ import annotations

import subprocess
import sys

import pytest

_ENGINE = """
import sys
import anyclaude.engine.engine
import anyclaude.steering
assert "mlx_lm.models.cache" in sys.modules
assert "transformers" not in sys.modules, "the engine imports transformers"
"""


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_engine_needs_no_transformers() -> None:
    _run(_ENGINE)


@pytest.mark.parametrize(
    "use",
    ["from mlx_lm import utils", "import mlx_lm; mlx_lm.load", "from mlx_lm import __version__"],
)
def test_the_package_is_whole_when_something_of_it_is_wanted(use: str) -> None:
    said = _run(f"{_ENGINE}\n{use}\nimport mlx_lm; print(type(mlx_lm), sorted(mlx_lm.__all__)[:2])")
    assert said == "<class 'module'> ['__version__', 'batch_generate']"


def test_what_it_does_not_have_it_does_not_have() -> None:
    code = (
        "import anyclaude.engine, mlx_lm\nprint(hasattr(mlx_lm, 'nope'), hasattr(mlx_lm, 'load'))"
    )
    assert _run(code) == "False True"


def test_a_package_that_is_imported_already_stays() -> None:
    assert _run("import mlx_lm as m, anyclaude.engine, mlx_lm; print(m is mlx_lm)") == "True"


def test_a_package_that_is_not_there() -> None:
    code = "import sys\nfrom anyclaude.engine.late import put_off\nput_off('no_such')\n"
    assert _run(f"{code}print('no_such' in sys.modules)") == "False"

"""From a model's name to a model in memory: where it is found, and how it writes tool calls."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anyclaude.script import PREFIX, read_script, script_path
from anyclaude.tools.families import FAMILIES, choose
from anyclaude.tools.families.hermes import DIALECT, hermes_result, hermes_tool_section

if TYPE_CHECKING:
    from anyclaude.engine.load import LoadedModel
    from anyclaude.engine.template import ToolFallback
    from anyclaude.engine.worker import ModelLoader, ProgressFn


def default_loader(data_dir: Path, dialect: str = "") -> ModelLoader:
    """Loads by catalogue name, or a script by ``scripted:FILE`` (see :mod:`anyclaude.script`).

    The embedded model, whose tokenizer a script needs too, is unpacked first if need be.

    ``dialect`` is the name of the family whose calls every model writes; empty: as its template
    says.
    """

    def load(name: str, progress: ProgressFn) -> LoadedModel:
        from anyclaude.engine.catalog import Catalog
        from anyclaude.engine.load import load_model
        from anyclaude.engine.smollm2 import EMBEDDED_NAME, ensure_embedded
        from anyclaude.engine.template import ToolFallback

        fallback = ToolFallback(
            FAMILIES.get(dialect, DIALECT),
            hermes_tool_section,
            hermes_result,
            partial(choose, override=dialect),
        )
        if name.startswith(PREFIX):
            return _scripted(name, ensure_embedded(data_dir, progress), fallback)
        if name == EMBEDDED_NAME:
            path = ensure_embedded(data_dir, progress)
        else:
            path = Catalog(data_dir).resolve(name)
        return load_model(path, name, progress, fallback)

    return load


def _scripted(name: str, embedded: Path, fallback: ToolFallback) -> LoadedModel:
    from anyclaude.engine.scripted import TAIL, Pace, load_scripted

    script = read_script(script_path(name))

    def answer(prompt: str) -> str:
        return script.answer(prompt, prompt.count(TAIL) - 1)

    pace = Pace(script.prefill, script.decode)
    return load_scripted(embedded, name, answer, pace, fallback, f"script-{script.digest}")

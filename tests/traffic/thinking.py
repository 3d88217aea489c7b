"""The token-memory double with SmolLM2's template taught to think."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from anyclaude.engine.load import LoadedModel
from tests.traffic.stage import TrafficLoader

TEMPLATE = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.reasoning_content %}
        {{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}
    {%- endif %}
    {{- message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""


@dataclass(frozen=True)
class ThinkingLoader(TrafficLoader):
    """Its thoughts are rendered wherever the client sends them back."""

    def __call__(self, name: str, progress: Callable[[float, str], None]) -> LoadedModel:
        with TemporaryDirectory() as folder:
            taught = replace(self, embedded=_taught(self.embedded, Path(folder)))
            return super(ThinkingLoader, taught).__call__(name, progress)


def _taught(embedded: Path, folder: Path) -> Path:
    for file in embedded.iterdir():
        (folder / file.name).symlink_to(file)
    tokenizer = json.loads((embedded / "tokenizer.json").read_text("utf-8"))
    first = 1 + max(token["id"] for token in tokenizer["added_tokens"])
    first = max(first, len(tokenizer["model"]["vocab"]))
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokenizer["added_tokens"] += [
        {"id": first + at, "content": text, "special": False, **plain}
        for at, text in enumerate(("<think>", "</think>"))
    ]
    config = json.loads((embedded / "tokenizer_config.json").read_text("utf-8"))
    config["chat_template"] = TEMPLATE
    for name, value in (("tokenizer.json", tokenizer), ("tokenizer_config.json", config)):
        (folder / name).unlink()
        (folder / name).write_text(json.dumps(value), "utf-8")
    return folder


def thought(text: str, answer: str) -> str:
    return f"<think>\n{text}\n</think>\n\n{answer}"

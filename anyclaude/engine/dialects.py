"""What a model's files tell of tools: how it writes calls, and what its prompts show of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

from anyclaude.dialect import Dialect
from anyclaude.types import JsonObject, JsonValue, ToolDefinition

if TYPE_CHECKING:
    from mlx_lm.tokenizer_utils import TokenizerWrapper

ChooseDialect: TypeAlias = Callable[[str, Collection[str], str], Dialect]
"""The family by the chat template, the special tokens and ``model_type`` of ``config.json``."""

_MOST_PARTS = 600
"""Parts of one tool that are looked at, each of which costs a rendering."""


def own_dialect(
    tokenizer: TokenizerWrapper, choose: ChooseDialect, model_type: str
) -> Dialect | None:
    """The family of a model whose chat template speaks of tools; ``None`` for any other."""
    template = template_text(tokenizer.chat_template)
    if "tools" not in template:
        return None
    return choose(template, frozenset(tokenizer.get_added_vocab()), model_type)


def template_text(template: object) -> str:
    """The template; one made for tools where there are several by name."""
    if isinstance(template, Mapping):
        named = {str(name): str(text) for name, text in template.items()}
        return named.get("tool_use") or named.get("default", "")
    return template if isinstance(template, str) else ""


Path: TypeAlias = tuple[str | int, ...]


def hidden_paths(show: Callable[[JsonObject], str], tool: ToolDefinition) -> tuple[Path, ...]:
    """What of a tool's ``description`` and ``input_schema`` makes no difference to the prompt.

    ``show`` renders a prompt with one tool, given as :attr:`ToolDefinition.function`; an error
    of it is a difference. Found by leaving out one part after the other, from the outside in, so
    of what is hidden whole only the top is named.
    """
    sent: JsonObject = {"description": tool.description, "input_schema": tool.input_schema}
    whole = _shown(show, tool, sent)
    if whole is None or all(_as_json(part, whole) for part in sent.values()):
        return ()
    budget = itertools.count()
    hidden: list[Path] = []

    def look(value: JsonValue, path: Path) -> None:
        for step in _steps(value):
            here = (*path, step)
            if next(budget) >= _MOST_PARTS:
                return
            if _shown(show, tool, cast(JsonObject, _without(sent, here))) == whole:
                hidden.append(here)
            else:
                look(value[step], here)  # type: ignore[index]

    look(sent, ())
    return tuple(hidden)


def _shown(
    show: Callable[[JsonObject], str], tool: ToolDefinition, parts: JsonObject
) -> str | None:
    function: dict[str, JsonValue] = {"name": tool.name}
    if "description" in parts:
        function["description"] = parts["description"]
    if "input_schema" in parts:
        function["parameters"] = parts["input_schema"]
    try:
        return show({"type": "function", "function": function})
    except Exception:  # A template is a program of the model's maker.
        return None


def _as_json(value: JsonValue, text: str) -> bool:
    """Whether the text has the value as JSON, in one of the ways in which templates write it."""
    return any(
        json.dumps(value, ensure_ascii=escaped, sort_keys=ordered) in text
        for escaped in (False, True)
        for ordered in (False, True)
    )


def _steps(value: JsonValue) -> Sequence[str | int]:
    if isinstance(value, Mapping):
        return list(value)
    return range(len(value)) if isinstance(value, list | tuple) else ()


def _without(value: JsonValue, path: Path) -> JsonValue:
    step, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        name = str(step)
        kept: dict[str, JsonValue] = {key: item for key, item in value.items() if key != name}
        return {**value, name: _without(value[name], rest)} if rest else kept
    assert isinstance(value, list | tuple) and isinstance(step, int)
    inner = [_without(value[step], rest)] if rest else []
    return [*value[:step], *inner, *value[step + 1 :]]

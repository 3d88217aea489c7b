"""The model families whose calls we read and write, and which of them a model belongs to."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType

from anyclaude.dialect import Dialect
from anyclaude.errors import ConfigError
from anyclaude.tools.families import (
    deepseek,
    gemma,
    glm,
    granite,
    harmony,
    hermes,
    kimi,
    llama_json,
    llama_pythonic,
    minimax,
    mistral,
    phi,
    qwen3_coder,
)

FAMILIES: Mapping[str, Dialect] = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            hermes.DIALECT,
            qwen3_coder.DIALECT,
            llama_json.DIALECT,
            llama_pythonic.DIALECT,
            llama_pythonic.LFM2_DIALECT,
            mistral.DIALECT,
            mistral.LIST_DIALECT,
            glm.DIALECT,
            minimax.DIALECT,
            kimi.DIALECT,
            deepseek.V3,
            deepseek.V31,
            deepseek.V32,
            deepseek.V4,
            harmony.DIALECT,
            gemma.DIALECT,
            gemma.FUNCTION_GEMMA,
            phi.DIALECT,
            phi.FUNCTOOLS,
            granite.DIALECT,
        )
    }
)
"""All families by name."""

_MARKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("minimax", ("<minimax:tool_call>",)),
    ("gemma", ("<|tool_call>", "<tool_call|>")),
    ("function_gemma", ("<start_function_call>",)),
    ("harmony", ("<|channel|>", "<|message|>")),
    ("glm", ("<arg_key>",)),
    ("kimi", ("<|tool_calls_section_begin|>",)),
    ("deepseek_v4", ("｜DSML｜", "tool_calls>")),
    ("deepseek_v32", ("｜DSML｜",)),
    ("deepseek_v3", ("<｜tool▁calls▁begin｜>", "```json")),
    ("deepseek_v31", ("<｜tool▁calls▁begin｜>",)),
    ("lfm2", ("<|tool_call_start|>",)),
    ("lfm2", ("<|tool_list_start|>",)),
    ("qwen3_coder", ("<function=", "<parameter=")),
    ("mistral", ("[TOOL_CALLS]", "[ARGS]")),
    ("mistral_list", ("[TOOL_CALLS]",)),
    ("phi", ("<|tool|>", "<|/tool|>")),
    ("phi", ("<|/tool_call|>",)),
    ("phi_functools", ("functools[",)),
    ("hermes", ("<tool_call>", "</tool_call>")),
    ("granite", ("<|start_of_role|>", "<|tool_call|>")),
    ("granite", ("<|start_of_role|>", "<tool_call>")),
    ("hermes", ("<tool_call>",)),
    ("llama_pythonic", ("[func_name1(",)),
    ("llama_json", ("<|python_tag|>",)),
    ("llama_json", ('"parameters": ', "ipython")),
    ("llama_pythonic", ("<|python_start|>",)),
)
"""Families by what stands in their templates, all of it, in the order they are asked."""

_TOKENS: tuple[tuple[str, str], ...] = (
    ("<|tool_call_start|>", "lfm2"),
    ("[ARGS]", "mistral"),
    ("[TOOL_CALLS]", "mistral_list"),
    ("<|/tool_call|>", "phi"),
)
"""Families by a special token of theirs that their templates may not name."""

_TYPES: tuple[tuple[str, str], ...] = (
    ("gpt_oss", "harmony"),
    ("granite", "granite"),
)
"""Families by the beginning of a model type whose templates name no marker of a call."""

_TOOLS = re.compile(r"\b(?:custom_|available_|all_)?tools\b")


def choose(
    template: str, specials: Collection[str], model_type: str, override: str = ""
) -> Dialect:
    """The family of a model, by its chat template, special tokens and model type.

    ``override`` names one of :data:`FAMILIES` and settles it. A template that has no place for
    tools, and one that no family is known by, get Hermes: that can be taught in words. Raises
    :class:`ConfigError` on an unknown name.
    """
    if override:
        if override not in FAMILIES:
            known = ", ".join(sorted(FAMILIES))
            raise ConfigError(f"there is no tool dialect {override!r}; use one of {known}")
        return FAMILIES[override]
    if not _TOOLS.search(template):
        return hermes.DIALECT
    for name, marks in _MARKS:
        if all(mark in template for mark in marks):
            return FAMILIES[name]
    for token, name in _TOKENS:
        if token in specials:
            return FAMILIES[name]
    for begin, name in _TYPES:
        if model_type.startswith(begin):
            return FAMILIES[name]
    return hermes.DIALECT

"""A model's family is found by its template, its special tokens, or its name in the settings."""

from __future__ import annotations

import pytest

from anyclaude.errors import ConfigError
from anyclaude.tools.families import FAMILIES, choose
from tests.engine import families as templates

TOOLS = "{% if tools %}{{ tools | tojson }}{% endif %}"
MARKED = {
    "hermes": "<tool_call>\n{\"name\": ...}\n</tool_call>",
    "qwen3_coder": "<tool_call>\\n<function=x>\\n<parameter=y>",
    "llama_json": "{{ '<|python_tag|>' + tool_call.name + '.call(' }}",
    "llama_pythonic": "[func_name1(params_name1=params_value1), func_name2(params)]",
    "lfm2": "<|tool_list_start|>[",
    "mistral": "[TOOL_CALLS]' + name + '[ARGS]'",
    "mistral_list": "[TOOL_CALLS] [",
    "glm": "<tool_call>{name}<arg_key>k</arg_key><arg_value>v</arg_value></tool_call>",
    "minimax": "<minimax:tool_call><invoke name=\"x\">",
    "kimi": "<|tool_calls_section_begin|><|tool_call_begin|>",
    "deepseek_v3": "<｜tool▁calls▁begin｜>' + tool['type'] + '\\n```json\\n'",
    "deepseek_v31": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>",
    "deepseek_v32": "<｜DSML｜function_calls>",
    "deepseek_v4": "<｜DSML｜tool_calls>",
    "harmony": "<|start|>assistant<|channel|>commentary to=functions.x<|message|>",
    "gemma": "<|tool_call>call:x{}<tool_call|>",
    "function_gemma": "<start_function_call>call:x{}<end_function_call>",
    "phi": "<|tool|>' + message['tools'] + '<|/tool|>",
    "phi_functools": "functools[{\"name\": ...}]",
    "granite": "<|start_of_role|>assistant<|end_of_role|><|tool_call|>[",
}  # fmt: skip


def test_each_family_is_known_by_its_template() -> None:
    assert MARKED.keys() == FAMILIES.keys()
    for name, mark in MARKED.items():
        assert choose(TOOLS + mark, (), "").name == name
        assert FAMILIES[name].name == name


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (templates.CHATML, "hermes"),
        (templates.QWEN3, "hermes"),
        (templates.MISTRAL, "mistral_list"),
        (templates.GLM, "glm"),
        (templates.GEMMA4, "gemma"),
        (templates.MINIMAX, "minimax"),
        (templates.GEMMA, "hermes"),
        (templates.DEEPSEEK, "hermes"),
        (TOOLS + templates.LLAMA3, "llama_json"),
        (TOOLS + "{% set d = '｜DSML｜' %}{{ '<' + d + 'tool_calls>' }}", "deepseek_v4"),
        (
            TOOLS + "{% set d = '｜DSML｜' %}{% if message.tool_calls %}"
            "{{ '<' + d + 'function_calls>' }}{% endif %}",
            "deepseek_v32",
        ),
        ("", "hermes"),
        (TOOLS, "hermes"),
    ],
)
def test_templates_as_they_are(template: str, name: str) -> None:
    assert choose(template, (), "").name == name


def test_marks_without_a_place_for_tools_say_nothing() -> None:
    assert choose("{{ tool_calls }}[TOOL_CALLS]", ("[TOOL_CALLS]",), "mistral").name == "hermes"


def test_special_tokens_and_types_are_asked_after_the_template() -> None:
    assert choose(TOOLS, ("<|tool_call_start|>",), "lfm2").name == "lfm2"
    assert choose(TOOLS, ("[TOOL_CALLS]", "[ARGS]"), "mistral").name == "mistral"
    assert choose(TOOLS, ("[TOOL_CALLS]",), "mistral").name == "mistral_list"
    assert choose(TOOLS, (), "gpt_oss").name == "harmony"
    assert choose(TOOLS + "<tool_call></tool_call>", ("[TOOL_CALLS]",), "granite").name == "hermes"


def test_a_name_in_the_settings_settles_it() -> None:
    assert choose(templates.GLM, (), "glm", override="qwen3_coder").name == "qwen3_coder"
    with pytest.raises(ConfigError, match=r"no tool dialect 'qwen'; use one of .*hermes"):
        choose("", (), "", override="qwen")

"""Pieces of which the soups of all families are made: signs, and each family's own markers."""

from __future__ import annotations

ANY = [
    "<", "{", "}", '"', "\\", '\\"', " ", "\n", "x", "é", ",", ":", "```", "```\n", "\n\n", "1",
    "[", "]", "`", "null", '{"a": "', '"}', "{}", "<think>", "</think>", "</thi",
]  # fmt: skip
_JSON = [
    '"name": "Bash"', '"name": "x"', ', "arguments": {', '"command": "ls', '"}}', "null", "[",
    "]",
]  # fmt: skip
_OBJECTS = [
    '{"name": "Bash", "arguments": {', '"command": "ls', '"}}', '{"name": "x"',
    ', "parameters": {',
]  # fmt: skip
_SECTIONED = [
    "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "function", "Bash", "```json\n", "\n```",
    "<｜tool▁call▁begin｜>Bash<｜tool▁sep｜>{",
]  # fmt: skip


def _invoke(section: str, mark: str) -> list[str]:
    return [
        f"<{section}>",
        f"</{section}>",
        f"<{mark}invoke",
        f'<{mark}invoke name="Bash">',
        f"</{mark}invoke>",
        f'<{section}>\n<{mark}invoke name="Write">\n',
        f"</{mark}param",
        f'<{mark}parameter name="command">',
        f'<{mark}parameter name="content" string="true">',
        f"</{mark}parameter>",
        f'<{mark}parameter name="any">',
        f"</{mark}parameter>\n</{mark}invoke>",
        f"<{mark}",
        "invoke",
    ]


WORDS: dict[str, list[str]] = {
    "hermes": [
        *_JSON, "<tool_call>", "</tool_call>", "<tool_", "call>", '<tool_call>{"name": "Bash"',
    ],
    "qwen3_coder": [
        *_JSON, "<tool_call>", "</tool_call>", "<tool_call>\n<function=Bash>\n",
        "<function=Bash>", "<function=", "<function=zz>", "</function>", "<parameter=command>\n",
        "<parameter=timeout>", "<parameter=", "</parameter>", "\n</parameter>\n", "</param",
        "<parameter=command>\nls\n</parameter>", "\n</parameter>\n</function>\n</tool_call>", ">",
        "null", "true",
    ],
    "mistral": [
        *_JSON, "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "Bash", "[TOOL_CALLS]Bash[ARGS]{", "[AR",
    ],
    "llama_json": [
        *_JSON, "<|python_tag|>", "<function=Bash>", "</function>", '{"name": "Bash"',
        '"parameters": {', "; ", "[Bash(", "command=", "'", ")", "<|python_tag|>{", "<|py",
        '{"name": "Bash", "parameters": {',
    ],
    "llama_pythonic": [
        "[Bash(", "command=", "'", '"""', ")", "]", "now()", "[now()", "<|python_start|>",
        "<|python_end|>", "<|tool_call_start|>[", "<|tool_call_end|>", "=", "(", "[", "**{",
        "\\n", "\\x4", "\\u00e9", "Bash(",
    ],
    "glm": [
        *_OBJECTS, "<tool_call>", "</tool_call>", "Bash",
        "<tool_call>Write\n<arg_key>content</arg_key>\n<arg_value>", "<arg_key>", "</arg_key>",
        "<arg_value>", "</arg_value>", "</arg_value>\n</tool_call>", "<tool_", "</arg",
        "<arg_key>timeout</arg_key><arg_value>", "</arg_value>\n<arg_key>any</arg_key>",
        "<tool_call>Bash</tool_call>",
    ],
    "minimax": _invoke("minimax:tool_call", ""),
    "deepseek_v32": _invoke("｜DSML｜function_calls", "｜DSML｜"),
    "deepseek_v4": [*_invoke("｜DSML｜tool_calls", "｜DSML｜"), "<｜DSML｜function_calls>"],
    "deepseek_v3": _SECTIONED,
    "deepseek_v31": _SECTIONED,
    "kimi": [
        "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>",
        "<|tool_call_end|>", "<|tool_call_argument_begin|>", "functions.", "Bash", ":0",
        "functions.Bash:0", "<|tool_", "|>",
        "<|tool_call_begin|>functions.Bash:0<|tool_call_argument_begin|>{",
    ],
    "harmony": [
        "<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>",
        "<|constrain|>", "assistant", "analysis", "commentary", "final", " to=functions.Bash",
        "json", "<|start|>assistant<|channel|>", "<|channel|>analysis<|message|>",
        "<|channel|>final<|message|>", "<|end|><|start|>assistant",
        "<|channel|>commentary to=functions.Bash <|constrain|>json<|message|>", "<|", "to=",
    ],
    "gemma": [
        "<|tool_call>", "<tool_call|>", "call:", "call:Bash{", '<|"|>', "command:",
        '<|tool_call>call:Write{content:<|"|>', '<|"|>}<tool_call|>', '<|"|>,', "a:[", "b:{",
        "true", "<|to", '<|"',
    ],
    "function_gemma": [
        "<start_function_call>", "<end_function_call>", "call:", "call:Bash{", "<escape>",
        "command:", "<start_function_call>call:Write{content:<escape>",
        "<escape>}<end_function_call>", "<escape>,", "a:[", "b:{", "None", "<esc",
    ],
    "phi": [
        *_OBJECTS, "<|tool_call|>", "<|/tool_call|>", "<|tool_call|>[", "functools", "functools[",
        "\nfunctools[",
    ],
    "phi_functools": [
        *_OBJECTS, "<|tool_call|>", "<|/tool_call|>", "functools", "functools[", "\nfunctools[ ",
    ],
    "granite": [
        *_OBJECTS, "<|tool_call|>", "<|tool_call|>[", "<tool_call>", "</tool_call>",
        "<tool_call>[", "}]",
    ],
}  # fmt: skip

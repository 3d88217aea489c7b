"""What the demonstration's client says: a coding agent's prompt, its tools and a small project."""

from __future__ import annotations

from typing import Any

_RULES = (
    "Read a file before you change it, and change no more than the task needs.",
    "Keep the style of the code around: names, quotes, line length, order of imports.",
    "Run the tests that cover what you changed, and say which ones you ran.",
    "Say what you found in one or two sentences before each call of a tool.",
    "Never commit, push or install anything unless you are asked to.",
    "When a command fails, read its output to the end before the next attempt.",
    "Prefer the project's own helpers over new ones with the same purpose.",
    "Leave no debug output, commented code or unused names behind.",
    "A test that fails for another reason than the task is reported, not mended.",
    "Ask when two readings of the task would lead to different changes.",
)

SYSTEM = "\n".join(
    [
        "You are a coding agent that works in a terminal, in the project src, with tools.",
        *(f"{at}. {rule}" for at, rule in enumerate(_RULES, 1)),
        *(
            f"When you work on {what}: {rule}"
            for what in ("parsers", "tests", "reports", "scripts", "documentation")
            for rule in _RULES
        ),
    ]
)
AGENT_SYSTEM = "You are a subagent of a coding agent. You look things up and report briefly."


def _tool(name: str, description: str, **properties: str) -> dict[str, Any]:
    return {
        "name": name,
        "description": description,
        "input_schema": {
            "type": "object",
            "properties": {
                key: {"type": "string", "description": text} for key, text in properties.items()
            },
            "required": list(properties)[:3],
            "additionalProperties": False,
        },
    }


TOOLS = [
    _tool("Read", "Reads a file of the project.", file_path="Path below the project's root"),
    _tool(
        "Edit",
        "Replaces one passage of a file by another; the passage must occur exactly once.",
        file_path="Path below the project's root",
        old_string="The passage as it stands in the file",
        new_string="What takes its place",
    ),
    _tool("Grep", "Finds lines that match a pattern.", pattern="Regular expression", path="Where"),
    {
        **_tool("Bash", "Runs a command in the project's root.", command="The command"),
        "input_schema": {
            "type": "object",
            "properties": {
                "command": {"type": "string"},
                "description": {"type": "string"},
                "timeout": {"type": "integer"},
            },
            "required": ["command"],
            "additionalProperties": False,
        },
    },
]

TASK = "A file without a newline at its end drops the last line. Please find out why and mend it."

_NOTES = """Notes on the project, read when the session began:
- src/parser.py splits files into lines and fields; src/report.py prints what it finds.
- Tests are in tests/ and run with pytest; they take two seconds.
- Python 3.11, no dependencies, lines up to 100 characters."""
NOTES = f"Open in the editor: src/report.py\n{_NOTES}"
CHANGED_NOTES = f"Open in the editor: src/parser.py\n{_NOTES}"

_KINDS = ("comment", "header", "field", "number", "date", "quoted", "blank", "range", "price")


def source_text() -> str:
    """The file that is read: long enough that reading it anew takes seconds."""
    lines = [
        '"""Splits files into lines and fields."""',
        "",
        "def split_lines(text):",
        "    lines = []",
        "    start = 0",
        "    while (end := text.find('\\n', start)) >= 0:",
        "        lines.append(text[start:end])",
        "        start = end + 1",
        "    rest = text[start:]",
        "    return lines",
    ]
    for kind in _KINDS:
        for part in ("start", "body", "end"):
            lines += [
                "",
                f"def read_{kind}_{part}(line, at):",
                f'    """The {part} of a {kind} in ``line`` from ``at`` on, and where it stops."""',
                f"    found = _PATTERNS['{kind}_{part}'].match(line, at)",
                "    if found is None:",
                f"        raise ParseError('no {kind} {part}', line, at)",
                f"    return {kind.title()}{part.title()}(found[0]), found.end()",
            ]
    return "\n".join(f"{number:>5}  {line}" for number, line in enumerate(lines, 1))


TEST_REPORT = "\n".join(
    [
        "........F...............",
        "=================================== FAILURES ===================================",
        "______________________ test_a_file_without_a_newline_at_its_end ________________",
        "    def test_a_file_without_a_newline_at_its_end():",
        ">       assert split_lines('one\\ntwo') == ['one', 'two']",
        "E       AssertionError: assert ['one'] == ['one', 'two']",
        "tests/test_parser.py:31: AssertionError",
        *(f"tests/test_parser.py::test_case_{number:03} PASSED" for number in range(60)),
        "1 failed, 83 passed in 1.92s",
    ]
)

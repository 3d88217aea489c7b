"""MiniMax M2: several calls in one block, each with its parameters between tags.

    <minimax:tool_call>
    <invoke name="Write">
    <parameter name="file_path">a.py</parameter>
    <parameter name="content">print("hi")
    </parameter>
    </invoke>
    </minimax:tool_call>

From the chat template of MiniMax-M2. Strings stand as they are, all else as JSON.
"""

from __future__ import annotations

from anyclaude.dialect import Dialect
from anyclaude.grammar.forms import Marker, Tags, tagged_calls
from anyclaude.grammar.kept import kept_by_tags
from anyclaude.tools.families.tagged import InvokeParser, render_invocation
from anyclaude.types import JsonObject

START, END = "<minimax:tool_call>", "</minimax:tool_call>"


class MinimaxParser(InvokeParser):
    """Calls of MiniMax M2."""

    section = (START, END)
    call_open, call_close = "<invoke", "</invoke>"
    key_open, value_close = "<parameter", "</parameter>"


def render(name: str, arguments: JsonObject) -> str:
    """One call as the template writes it."""
    return render_invocation((START, END), "", name, arguments, typed=False)


_TAGS = Tags(
    opening=lambda name: [f'<invoke name="{name}">\n'],
    argument=lambda key, _: [f'<parameter name="{key}">'],
    end=["</parameter>\n"],
    closing=["</invoke>\n"],
    next="<",
)
DIALECT = Dialect(
    "minimax",
    START,
    MinimaxParser,
    render,
    tagged_calls(_TAGS, section=([Marker(START), "\n"], [Marker(END)])),
    kept_by_tags,
    section=START + "\n",
)

"""DeepSeek V3, V3.1, V3.2 and V4: three syntaxes, of which the first two share their markers.

V3 (0324) and R1 name the type of the tool, and fence the arguments:

    <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>Bash
    ```json
    {"command": "ls"}
    ```<｜tool▁call▁end｜><｜tool▁calls▁end｜>

V3.1 does neither:

    <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>Bash<｜tool▁sep｜>{"command": "ls"}\
<｜tool▁call▁end｜><｜tool▁calls▁end｜>

V3.2 writes tags of its own, with strings as they are and all else as JSON:

    <｜DSML｜function_calls>
    <｜DSML｜invoke name="Bash">
    <｜DSML｜parameter name="command" string="true">ls</｜DSML｜parameter>
    </｜DSML｜invoke>
    </｜DSML｜function_calls>

V4 writes the same in ``<｜DSML｜tool_calls>``. ``｜DSML｜`` is one special token.

From their chat templates, and that of V3.2 in llama.cpp, which follows the model's own encoder.
"""

from __future__ import annotations

from anyclaude.dialect import CallOpen, Dialect
from anyclaude.grammar.forms import Marker, Parts, Tags, json_calls, tagged_calls
from anyclaude.grammar.kept import kept_by_tags
from anyclaude.tools.families.base import Reading
from anyclaude.tools.families.bodies import as_json, is_name
from anyclaude.tools.families.sections import SectionParser
from anyclaude.tools.families.tagged import InvokeParser, render_invocation
from anyclaude.types import JsonObject

START, END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_OPEN, _CLOSE, _SEP = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
_MARK = "｜DSML｜"
DSML_START, DSML_END = f"<{_MARK}function_calls>", f"</{_MARK}function_calls>"
V4_START, V4_END = f"<{_MARK}tool_calls>", f"</{_MARK}tool_calls>"


class DeepseekParser(SectionParser):
    """Calls of DeepSeek V3 and V3.1."""

    section = (START, END)
    call_open, call_close = _OPEN, _CLOSE

    def invocation(self, before: str) -> Reading[bool]:
        name, marker = yield from self.upto(_SEP, "{", _CLOSE, _OPEN, END)
        name = name.strip()
        if marker == _SEP:
            self.src.take(len(marker))
            if name in ("function", "") and not (yield from self.follows("{")):
                name, marker = yield from self.upto("\n", "{", "```", _CLOSE, _OPEN, END)
                name = name.strip()
        if not marker or not is_name(name):
            return (yield from self.nameless(before))
        yield CallOpen(name)
        complete = yield from self.json_body((_CLOSE,), (_OPEN, END))
        if complete:
            yield from self.end_of_section()
        return (yield from self.closed(before, complete))


class DsmlParser(InvokeParser):
    """Calls of DeepSeek V3.2 and V4."""

    section = (DSML_START, DSML_END)
    starts = (DSML_START, DSML_END, V4_START, V4_END, f"<{_MARK}invoke")
    call_open, call_close = f"<{_MARK}invoke", f"</{_MARK}invoke>"
    key_open, value_close = f"<{_MARK}parameter", f"</{_MARK}parameter>"

    def call(self, before: str) -> Reading[bool]:
        if self.src.starts(V4_START):
            self.section = (V4_START, V4_END)
        elif self.src.starts(DSML_START):
            self.section = (DSML_START, DSML_END)
        return (yield from super().call(before))

    def attributed(self, types: frozenset[str], attributes: str) -> frozenset[str]:
        if 'string="true"' in attributes and "string" in types:
            return frozenset({"string"})
        if 'string="false"' in attributes and types != {"string"}:
            return types - {"string"}
        return types


def render_v3(name: str, arguments: JsonObject) -> str:
    """One call as the template of V3 and R1 writes it."""
    body = f"```json\n{as_json(arguments)}\n```"
    return f"{START}{_OPEN}function{_SEP}{name}\n{body}{_CLOSE}{END}"


def render_v31(name: str, arguments: JsonObject) -> str:
    """One call as the template of V3.1 writes it."""
    return f"{START}{_OPEN}{name}{_SEP}{as_json(arguments)}{_CLOSE}{END}"


def render_v32(name: str, arguments: JsonObject) -> str:
    """One call as V3.2 writes it."""
    return render_invocation((DSML_START, DSML_END), _MARK, name, arguments, typed=True)


def render_v4(name: str, arguments: JsonObject) -> str:
    """One call as V4 writes it."""
    return render_invocation((V4_START, V4_END), _MARK, name, arguments, typed=True)


def _opening_v3(name: str) -> Parts:
    return [Marker(_OPEN), "function", Marker(_SEP), f"{name}\n```json\n"]


def _opening_v31(name: str) -> Parts:
    return [Marker(_OPEN), name, Marker(_SEP)]


_SECTION = ([Marker(START)], [Marker(END)])
V3 = Dialect(
    "deepseek_v3",
    START,
    DeepseekParser,
    render_v3,
    json_calls(_opening_v3, ["\n```", Marker(_CLOSE)], section=_SECTION, separator=["\n"]),
    section=START,
)
V31 = Dialect(
    "deepseek_v31",
    START,
    DeepseekParser,
    render_v31,
    json_calls(_opening_v31, [Marker(_CLOSE)], section=_SECTION),
    section=START,
)


def _tag(text: str) -> Parts:
    return ["<", Marker(_MARK), text]


def _end(text: str) -> Parts:
    return ["</", Marker(_MARK), text]


_TAGS = Tags(
    opening=lambda name: _tag(f'invoke name="{name}">\n'),
    argument=lambda key, text: _tag(
        f'parameter name="{key}" string="{"true" if text else "false"}">'
    ),
    end=_end("parameter>\n"),
    closing=_end("invoke>\n"),
    next="<",
)
V32 = Dialect(
    "deepseek_v32",
    DSML_START,
    DsmlParser,
    render_v32,
    tagged_calls(_TAGS, section=(_tag("function_calls>\n"), _end("function_calls>"))),
    kept_by_tags,
    section=DSML_START + "\n",
)
V4 = Dialect(
    "deepseek_v4",
    V4_START,
    DsmlParser,
    render_v4,
    tagged_calls(_TAGS, section=(_tag("tool_calls>\n"), _end("tool_calls>"))),
    kept_by_tags,
    section=V4_START + "\n",
)

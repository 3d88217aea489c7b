"""Granite 3: a list of calls in JSON after a marker, up to the end of the answer.

    <|tool_call|>[{"name": "Bash", "arguments": {"command": "ls"}}]

From the chat templates of Granite 3.0 to 3.3. 3.1 writes ``<tool_call>`` in the marker's place.
Granite 4 writes what :mod:`anyclaude.tools.families.hermes` reads; its tags are read here too.
"""

from __future__ import annotations

from anyclaude.dialect import Dialect
from anyclaude.grammar.forms import Marker, Parts, json_calls
from anyclaude.tools.families.base import Reading
from anyclaude.tools.families.bodies import as_json
from anyclaude.tools.families.hermes import END, HermesParser
from anyclaude.tools.families.hermes import START as TAG
from anyclaude.types import JsonObject

START = "<|tool_call|>"


class GraniteParser(HermesParser):
    """Calls of Granite 3."""

    starts = (START, TAG)

    def call(self, before: str) -> Reading[bool]:
        src = self.src
        tagged = src.starts(TAG)
        marker = TAG if tagged else START
        at = yield from self.skip(len(marker))
        listed = self.char(at) == "["
        self.end = END if tagged and not listed else ""
        if tagged and not listed:
            return (yield from super().call(before))
        if self.char(at) not in ("[", "{", ""):
            src.take(len(marker))
            return False
        src.take(at)
        yield from self.objects(before)
        if tagged:
            # Neither a closing tag nor its absence says anything after a list.
            src.take(max((yield from self.ahead(END)), 0))
        return True


def render(name: str, arguments: JsonObject) -> str:
    """One call as the template writes it."""
    return START + as_json([{"name": name, "arguments": arguments}])


def _opening(name: str) -> Parts:
    return [f'{{"name": {as_json(name)}, "arguments": ']


DIALECT = Dialect(
    "granite",
    START,
    GraniteParser,
    render,
    json_calls(_opening, ["}"], section=([Marker(START), "["], ["]"]), separator=[", "]),
    section=START + "[",
)

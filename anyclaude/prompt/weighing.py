"""How much each part of a prompt matters, told from its form and from plain English.

The words are those in which anybody writes rules: *must*, *never*, *do not*; *secret*,
*destructive*; a path, a date, a platform. None is a phrase of one client. What is a rule, a
matter of safety, about a tool or about the environment is protected: no tier drops it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from anyclaude.prompt.sections import Section


class Kind(enum.StrEnum):
    """What a part is for."""

    SAFETY = "safety"
    INSTRUCTION = "instruction"
    TOOL_RULE = "tool_rule"
    ENVIRONMENT = "environment"
    HEADING = "heading"
    CATALOGUE = "catalogue"
    REFERENCE = "reference"
    EXAMPLE = "example"


IMPORTANCE = {
    Kind.SAFETY: 1.0,
    Kind.INSTRUCTION: 0.9,
    Kind.TOOL_RULE: 0.8,
    Kind.ENVIRONMENT: 0.8,
    Kind.HEADING: 0.5,
    Kind.CATALOGUE: 0.4,
    Kind.REFERENCE: 0.3,
    Kind.EXAMPLE: 0.2,
}
"""From 0, may go, to 1."""

PROTECTED = frozenset({Kind.SAFETY, Kind.INSTRUCTION, Kind.TOOL_RULE, Kind.ENVIRONMENT})

_HARM = (
    r"\b(?:secur\w+|malicious\w*|destructive\w*|harm\w*|credential\w*|secrets?|passwords?|"
    r"priva(?:te|cy)|personal|exploit\w*|attack\w*|unauthori[sz]ed|authori[sz]ation|untrusted|"
    r"irreversibl\w+|hard to reverse|overwrit\w+|delet\w+|injection)\b"
)
_BINDING = (
    r"\b(?:IMPORTANT|CRITICAL|WARNING|MUST|NEVER|ALWAYS|NOT|ONLY|[Mm]ust|[Nn]ever|[Aa]lways|"
    r"[Dd]o not|[Cc]annot|can't|will fail|is required|are required|required unless|refuse)\b"
)
_ADVICE = (
    r"\b(?:[Dd]on't|[Aa]void|[Pp]refer|[Uu]se|[Oo]nly|[Ii]nstead|should|shouldn't|[Ee]nsure|"
    r"[Mm]ake sure|[Cc]onfirm|[Ff]ollow|[Rr]eport|[Tt]reat|[Cc]heck)\b"
)
_RULE = (
    r"\b(?:IMPORTANT|CRITICAL|WARNING|MUST|NEVER|ALWAYS|NOT|ONLY|[Mm]ust|[Nn]ever|[Aa]lways|"
    r"[Dd]o not|will fail|(?:is|are) required|required unless)\b"
)
_safety = re.compile(_HARM, re.IGNORECASE)
_binding = re.compile(_BINDING)
_advice = re.compile(_ADVICE)
_rule = re.compile(_RULE)
_environment = re.compile(r"\b(?:environment|workspace|platform)\b", re.IGNORECASE)
_fact = re.compile(
    r"(?:^|\s)(?:/[\w.@~-]+){2,}|\b[A-Za-z]:\\|\b\d{4}-\d{2}-\d{2}\b|"
    r"^[ \t]*(?:[-*+•][ \t]+)?[A-Z][\w ]{1,40}:[ \t]+\S.{0,80}$",
    re.MULTILINE,
)
_entry = re.compile(
    r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+[`*]{0,2}([\w.:/@-]{2,60})[`*]{0,2}[ \t]*[:—–][ \t]*"
)
_CATALOGUE_FROM = 4
"""So many entries under one heading are a catalogue; fewer are the rules of something."""
_LONG_ENTRY = 90
_LONGEST_FACT = 400


@dataclass(frozen=True, slots=True)
class Weighed:
    """A section with what it is for. ``importance`` as in :data:`IMPORTANCE`."""

    section: Section
    kind: Kind
    importance: float

    @property
    def protected(self) -> bool:
        return self.kind in PROTECTED


def weigh(parts: Sequence[Section], tools: Collection[str] = ()) -> tuple[Weighed, ...]:
    """The importance of every part; ``tools`` are the names of the tools of the request."""
    catalogues = _catalogues(parts)
    named = _names(tools)
    weighed: list[Weighed] = []
    for index, part in enumerate(parts):
        kind = Kind.CATALOGUE if index in catalogues else kind_of(part, named)
        weighed.append(Weighed(part, kind, IMPORTANCE[kind]))
    return tuple(weighed)


def kind_of(part: Section, tools: re.Pattern[str] | None = None) -> Kind:
    """What a part by itself is for."""
    text = part.body
    if part.form in ("heading", "tag"):
        return Kind.HEADING
    if part.form in ("code", "example"):
        return Kind.EXAMPLE
    rule, advice = _binding.search(text) is not None, _advice.search(text) is not None
    if _safety.search(text) and (rule or advice):
        return Kind.SAFETY
    if rule:
        return Kind.INSTRUCTION
    if advice:
        named = tools is not None and tools.search(text) is not None
        return Kind.TOOL_RULE if named else Kind.INSTRUCTION
    if len(text) <= _LONGEST_FACT and _fact.search(text):
        return Kind.ENVIRONMENT
    under = any(_environment.search(name) for name in part.path)
    return Kind.ENVIRONMENT if under and 0 < len(text) <= _LONG_ENTRY else Kind.REFERENCE


def binding(sentence: str) -> bool:
    """Whether a sentence about a tool is a rule that a call must keep to."""
    return _rule.search(sentence) is not None or (
        _safety.search(sentence) is not None and _advice.search(sentence) is not None
    )


def entry_name(text: str) -> str:
    """The name that a catalogue's entry begins with, its marks included; empty for none."""
    found = _entry.match(text)
    return found[0] if found else ""


def _names(tools: Collection[str]) -> re.Pattern[str] | None:
    if not tools:
        return None
    return re.compile(r"\b(?:" + "|".join(re.escape(name) for name in sorted(tools)) + r")\b")


def _catalogues(parts: Sequence[Section]) -> frozenset[int]:
    """Runs of entries that name things and tell of each at length, and are no list of rules."""
    found: set[int] = set()
    run: list[int] = []
    for index, part in enumerate((*parts, Section("", "heading"))):
        text = part.text
        if part.form == "item" and entry_name(text.lstrip("\n")):
            run.append(index)
            continue
        binding_entries = sum(1 for i in run if _binding.search(parts[i].text))
        long = sum(1 for i in run if len(parts[i].text) > _LONG_ENTRY)
        if len(run) >= _CATALOGUE_FROM and 2 * binding_entries < len(run) <= 2 * long:
            found.update(run)
        run = []
    return frozenset(found)

"""One text of a prompt made shorter: white space, repetition, examples, catalogues, explanations.

A protected part stays byte for byte. Where the user has a rule for a part, that decides.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from anyclaude.prompt.sections import Section, sentences, split
from anyclaude.prompt.tiers import Limits
from anyclaude.prompt.weighing import Kind, Weighed, binding, entry_name, weigh

Action: TypeAlias = Literal[
    "kept", "shortened", "dropped", "duplicate", "replaced", "deferred", "added"
]
RuleAction: TypeAlias = Literal["keep", "drop", "replace"]

_BLANKS = re.compile(r"[ \t]+(?=\n|\Z)")
_SHORTEST_REPEATED = 40
"""Characters; what is shorter may be said twice for a reason."""
_MARK = re.compile(r"\A\s*(?:[-*+•]|\d{1,3}[.)])[ \t]+")
_ASIDE = re.compile(r"\s*\([^()]*\)")
_CLAUSE = re.compile(r"\s*(?:[;—–]|:\s|,\s(?:and|but|which|so|or|e\.g\.)\b).*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class UserRule:
    """What the user wants done with the parts that ``pattern`` is found in.

    ``text`` is what every match becomes, for ``replace``.
    """

    pattern: re.Pattern[str]
    action: RuleAction
    text: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A section's way through the tier: ``before`` and ``after`` without empty lines around."""

    title: str
    kind: Kind
    importance: float
    protected: bool
    action: Action
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Short:
    """A text as the model is shown it, and what became of its parts in their first order."""

    text: str
    parts: tuple[Part, ...]


def shorten(
    text: str,
    limits: Limits,
    tools: Collection[str] = (),
    rules: Sequence[UserRule] = (),
    seen: set[str] | None = None,
) -> Short:
    """``text`` within ``limits``; ``seen`` has what was said before it, and is added to."""
    weighed = weigh(split(text), tools)
    seen = set() if seen is None else seen
    first = not seen  # Who the model is comes first of all, and stays.
    parts = _unheaded(
        [
            _part(item, limits, rules, seen, opening=first and index == 0)
            for index, item in enumerate(weighed)
        ],
        weighed,
    )
    order = _order(weighed) if limits.reorder else range(len(weighed))
    pieces: list[str] = []
    for index in order:
        part, gap = parts[index], _gap(weighed[index].section)
        if part.after:
            pieces += [part.after, gap]
        elif pieces and gap == "\n\n":
            pieces[-1] = gap
    return Short("".join(pieces).strip("\n"), tuple(parts))


def _gap(section: Section) -> str:
    tail = len(section.text) - len(section.text.rstrip("\n"))
    return "\n" if tail == 1 else "\n\n"


def _part(
    item: Weighed,
    limits: Limits,
    rules: Sequence[UserRule],
    seen: set[str],
    *,
    opening: bool,
) -> Part:
    before = item.section.body
    made = Part(
        _title(item.section), item.kind, item.importance, item.protected, "kept", before, before
    )
    for rule in rules:
        if not rule.pattern.search(before):
            continue
        if rule.action == "keep":
            return replace(made, protected=True)
        after = "" if rule.action == "drop" else rule.pattern.sub(rule.text, before)
        return replace(
            made,
            protected=False,
            action="dropped" if rule.action == "drop" else "replaced",
            after=after,
        )
    same = " ".join(before.split())
    if item.kind is not Kind.HEADING and same:
        if same in seen and len(same) >= _SHORTEST_REPEATED:
            return replace(made, protected=False, action="duplicate", after="")
        seen.add(same)
    if item.protected:
        return made
    after = _BLANKS.sub("", before) if opening else _shortened(before, item, limits)
    action: Action = "kept" if after == before else "shortened" if after else "dropped"
    return replace(made, action=action, after=after)


def _shortened(text: str, item: Weighed, limits: Limits) -> str:
    match item.kind:
        case Kind.EXAMPLE:
            fits = limits.example is None or len(text) <= limits.example
            return text if fits else ""
        case Kind.CATALOGUE if limits.entry is not None:
            name = entry_name(text)
            said = brief(text[len(name) :], limits.entry)
            return (name + said).rstrip() if said else name.rstrip(" :—–")
        case Kind.REFERENCE if limits.reference is not None and len(text) > limits.reference:
            return ""
        case Kind.HEADING:
            return text
        case _:
            return _BLANKS.sub("", text)


def brief(text: str, limit: int) -> str:
    """The beginning of a text up to the end of a sentence, a clause or a word within ``limit``."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    whole = ""
    for sentence in sentences(text):
        if len(whole) + len(sentence.rstrip()) > limit:
            break
        whole += sentence
    if whole:
        return whole.rstrip()
    first = _ASIDE.sub("", sentences(text)[0]).strip()
    if len(first) > limit:
        clause = _CLAUSE.sub("", first)
        first = clause if 12 <= len(clause) < len(first) else first
    if len(first) <= limit:
        return first if first.endswith((".", "!", "?")) else f"{first}."
    cut = first[: max(0, limit - 1)].rpartition(" ")[0]
    return f"{cut.rstrip(',;:—– ')}…" if cut else ""


def told(description: str, limit: int) -> tuple[str, tuple[str, ...]]:
    """A tool's description within ``limit`` characters, and its rules, which come on top.

    What the tool does comes first, then each sentence that a call must keep to, byte for byte;
    what is left of the limit goes to the other sentences in their order.
    """
    said = [
        _MARK.sub("", sentence).strip()
        for section in split(description)
        if section.form not in ("heading", "tag", "code", "example")
        for sentence in sentences(section.body)
        if sentence.strip()
    ]
    said = [s for s in said if not s.endswith(":") or binding(s)]
    if not said:
        return "", ()
    rules = tuple(dict.fromkeys(s for s in said[1:] if binding(s)))
    first = said[0] if binding(said[0]) and len(said[0]) <= 2 * limit else brief(said[0], limit)
    room = limit - len(first)
    chosen = {first}
    for sentence in said[1:]:
        if sentence in rules:
            chosen.add(sentence)
        elif len(sentence) <= room:
            chosen.add(sentence)
            room -= len(sentence) + 1
    order = dict.fromkeys([first, *said[1:]])
    return " ".join(s for s in order if s in chosen), rules


def _title(section: Section) -> str:
    words = " ".join(section.body.split())
    title = words if section.form == "heading" else " › ".join((*section.path, words))
    return title if len(title) <= 72 else f"{title[:71]}…"


def _unheaded(parts: list[Part], weighed: Sequence[Weighed]) -> list[Part]:
    """Drops headings and element tags under which nothing is left."""
    for index, item in enumerate(weighed):
        if item.kind is not Kind.HEADING or not parts[index].after:
            continue
        path = item.section.path
        below = [
            parts[other].after
            for other, below in enumerate(weighed)
            if below.kind is not Kind.HEADING and below.section.path[: len(path)] == path
        ]
        if below and not any(below):
            parts[index] = replace(parts[index], action="dropped", after="")
    return parts


def _order(weighed: Sequence[Weighed]) -> Iterable[int]:
    """What matters most first and last: models read the middle of a long prompt worst.

    Whole groups (headings, elements) move, never what is in them; what stands before the first
    heading stays where it is. The group with the most weight comes first, the next last.
    """
    groups: dict[str, list[int]] = {}
    run = ""
    for index, item in enumerate(weighed):
        run = item.section.group
        groups.setdefault(run, []).append(index)
    head = groups.pop("", [])
    if head != list(range(len(head))):
        return range(len(weighed))  # An element ended before the text did: no groups to move.
    ranked = sorted(groups.values(), key=lambda members: -_weight(weighed, members))
    front = [index for members in ranked[::2] for index in members]
    back = [index for members in reversed(ranked[1::2]) for index in members]
    return [*head, *front, *back]


def _weight(weighed: Sequence[Weighed], members: Sequence[int]) -> float:
    """How much of a group is critical, by length."""
    length = sum(len(weighed[index].section.text) for index in members)
    critical = sum(
        len(weighed[index].section.text) * weighed[index].importance
        for index in members
        if weighed[index].protected
    )
    return critical / length if length else 0.0

"""Finding out what a chat template can do, by rendering tiny conversations with it.

Templates are programs; reading them for clues is guesswork. Each question here is asked by a
conversation of a few words, answered by whether they come out again, in order.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from anyclaude.engine.template_messages import Traits, Turn, TurnKind, shape

PROBE_TOOL: dict[str, object] = {
    "type": "function",
    "function": {
        "name": "probetool",
        "description": "probes",
        "parameters": {
            "type": "object",
            "properties": {"field": {"type": "string", "description": "a field"}},
            "required": ["field"],
        },
    },
}
_MARK = "probemark"


class TemplateRefused(Exception):
    """The template raised on a conversation; ``str()`` is its reason."""


class Renderer(Protocol):
    """Renders shaped turns to text; raises :class:`TemplateRefused`."""

    def __call__(
        self,
        turns: Sequence[Turn],
        *,
        tools: Sequence[Mapping[str, object]] = (),
        tail: bool = False,
        thinking: bool = False,
    ) -> str: ...


@dataclass(frozen=True, slots=True)
class Seam:
    """Where an assistant's words begin in rendered history.

    ``core`` is the text that both history and the generation tail put before them; ``leads``
    are what history was seen to put between ``core`` and the words.
    """

    core: str
    leads: frozenset[str]


def _user(text: str) -> Turn:
    return {"role": "user", "content": text}


def _assistant(text: str) -> Turn:
    return {"role": "assistant", "content": text}


def _system(text: str) -> Turn:
    return {"role": "system", "content": text}


def _call(value: str, traits: Traits, index: int = 0, name: str = "probetool") -> dict[str, object]:
    arguments = f'{{"field": "{value}"}}' if traits.text_arguments else {"field": value}
    return {
        "type": "function",
        "id": f"functions.{name}:{index}" if traits.indexed_call_ids else f"probecal{index}",
        "function": {"name": name, "arguments": arguments},
    }


def _calling(*calls: Mapping[str, object]) -> Turn:
    return {"role": "assistant", "content": "", "tool_calls": list(calls)}


def _result(text: str, call: Mapping[str, object]) -> Turn:
    return {"role": "tool", "name": "probetool", "tool_call_id": call["id"], "content": text}


class Probe:
    """Asks one template all the questions; the answers are :attr:`traits` and :meth:`seam`."""

    def __init__(self, render: Renderer, *, parser: str | None) -> None:
        self._render = render
        self.traits = Traits()
        if not self._shows([_user("probeuser")], "probeuser"):
            self.traits = replace(self.traits, list_content=True)
            try:
                self._text([_user("probeuser")])
            except TemplateRefused as refusal:
                raise ValueError(
                    f"its chat template can't even render one user turn: {refusal}"
                ) from refusal
        self._ask_roles()
        if parser is not None:
            self._ask_tools(parser)
        self._ask_reasoning()

    def _text(
        self, turns: Sequence[Turn], *, tools: bool = False, tail: bool = False,
        thinking: bool = False,
    ) -> str:  # fmt: skip
        shaped = shape(turns, Traits(list_content=self.traits.list_content))
        offered = [PROBE_TOOL] if tools else []
        return self._render(shaped, tools=offered, tail=tail, thinking=thinking)

    def _shows(self, turns: Sequence[Turn], *words: str, tools: bool = False) -> bool:
        """True when the template takes the turns and the words come out in this order."""
        try:
            text = self._text(turns, tools=tools)
        except TemplateRefused:
            return False
        at = 0
        for word in words:
            at = text.find(word, at)
            if at < 0:
                return False
            at += len(word)
        return True

    def _ask_roles(self) -> None:
        one, two = _user("probeuser"), _user("probeagain")
        said, system = _assistant("probesaid"), _system("probesystem")
        # Some templates move the system prompt into the latest user turn: every turn would
        # then cost a prefill of the whole conversation.
        first = self._shows([system, one], "probesystem", "probeuser") and self._text(
            [system, one, said, two]
        ).startswith(self._text([system, one]))
        self.traits = replace(
            self.traits,
            system_first=first,
            system_anywhere=first
            and self._shows(
                [_system("probehead"), one, system, said, two],
                "probehead", "probeuser", "probesystem", "probesaid", "probeagain",
            )
            and self._shows([one, said, two, system], "probesaid", "probeagain", "probesystem"),
            repeated_roles=self._shows([one, two], "probeuser", "probeagain")
            and self._shows(
                [one, said, _assistant("probemore"), two], "probesaid", "probemore", "probeagain"
            ),
            assistant_first=self._shows([said, one], "probesaid", "probeuser"),
        )  # fmt: skip

    def _ask_tools(self, parser: str) -> None:
        base = replace(self.traits, tools=True, indexed_call_ids=parser.startswith("kimi"))
        one, two, said = _user("probeuser"), _user("probeagain"), _assistant("probesaid")
        for text_arguments in (False, True):
            traits = replace(base, text_arguments=text_arguments)
            call, other = _call("probevalue", traits), _call("probeother", traits, 1)
            loop = [one, _calling(call), _result("proberesult", call)]
            words = ("probevalue", "proberesult", "probesaid", "probeagain")
            if self._shows([*loop, said, two], *words, tools=True) and self._shows(
                [one], "probetool", tools=True
            ):
                break
        else:
            return
        results = [_result("proberesult", call), _result("probesecond", other)]
        self.traits = replace(
            traits,
            parallel_calls=self._shows(
                [one, _calling(call, other), *results, said],
                "probevalue", "probeother", "proberesult", "probesecond", "probesaid",
                tools=True,
            ),
            user_after_tool=self._shows(
                [*loop, two, said], "proberesult", "probeagain", "probesaid", tools=True
            ),
            tools_move=not self._text([one, said, two], tools=True).startswith(
                self._text([one], tools=True)
            ),
            calls_as_calls=not self._shows(
                [one, _assistant(_MARK), _result("proberesult", call), said, two],
                _MARK, "proberesult", "probesaid", "probeagain", tools=True,
            ),
        )  # fmt: skip

    def _ask_reasoning(self) -> None:
        # transformers gives templates this key under the older names too.
        said = {**_assistant("probesaid"), "reasoning_content": "probereason"}
        shown = self._shows([_user("probeuser"), said], "probereason", "probesaid")
        self.traits = replace(self.traits, reasoning=shown)

    # -------------------------------------------------------------------------------- seams

    def _before(self, role: str) -> list[Turn] | None:
        """A conversation whose last turn, in this role, the model would answer."""
        if role == "user":
            return [_user("probeuser")]
        if role == "system" and self.traits.system_anywhere:
            return [_user("probeuser"), _system("probesystem")]
        if role == "tool" and self.traits.tools:
            call = _call("probevalue", self.traits)
            return [_user("probeuser"), _calling(call), _result("proberesult", call)]
        return None

    def tail(self, role: str, thinking: bool) -> str | None:
        """The generation tail after a turn in ``role``; None when it isn't purely appended."""
        if (before := self._before(role)) is None:
            return None
        try:
            plain = self._text(before, tools=self.traits.tools, thinking=thinking)
            full = self._text(before, tools=self.traits.tools, tail=True, thinking=thinking)
        except TemplateRefused:
            return None
        return full.removeprefix(plain) if full.startswith(plain) else None

    def seam(self, role: str, as_call: bool) -> Seam | None:
        """How an assistant turn after ``role`` begins; None when it can't be told."""
        before = self._before(role)
        tails = [self.tail(role, thinking) for thinking in (False, True)]
        if before is None or None in tails:
            return None
        answer = _assistant(_MARK)
        closing: list[Turn] = [_user("probeagain")]
        if as_call:
            call = _call("probevalue", self.traits, 1, name=_MARK)
            answer = _calling(call)
            closing = [_result("probesecond", call), _assistant("probesaid"), *closing]
        leads: set[str] = set()
        for thinking in (False, True):
            for following in ([], closing):
                lead = self._lead(before, [answer, *following], thinking)
                if lead is not None:
                    leads.add(lead)
        if not leads:
            return None
        core = common_prefix(*leads, *(tail for tail in tails if tail is not None))
        return Seam(core, frozenset(lead[len(core) :] for lead in leads))

    def what_follows(self, kind: TurnKind, thinking: bool, space: str = "") -> frozenset[str]:
        """The texts seen behind the words of a turn (a call: behind its name), whatever comes
        next in the conversation. The words end in ``space``."""
        mark = _MARK + space
        one, two = _user("probeuser"), _user("probeagain")
        said, system = _assistant("probesaid"), _system("probesystem")
        call = _call("probevalue", self.traits)
        other = _call("probeother", self.traits, 1)
        result = _result("proberesult", call)
        after: list[list[Turn]] = [[], [said], [two], [said, two]]
        if self.traits.system_anywhere:
            after.append([system])
        if self.traits.tools and kind not in ("call", "assistant"):
            after.append([_calling(other), _result("probesecond", other)])
        match kind:
            case "tool":
                befores: list[list[Turn]] = [[one, _calling(call), _result(mark, call)]]
                if self.traits.parallel_calls:
                    befores.append([one, _calling(call, other), _result(mark, call)])
                    after.append([_result("probesecond", other)])
            case "call":
                befores = [[one, _calling(_call("probevalue", self.traits, name=_MARK))]]
                after = [[], [result], [result, said]]
            case _:
                befores = [[one, {"role": kind, "content": mark}]]
                befores += [[{"role": kind, "content": mark}]] if kind == "user" else []
        found: set[str] = set()
        for before, following in itertools.product(befores, after):
            try:
                text = self._render(
                    shape([*before, *following], self.traits),
                    tools=[PROBE_TOOL] if self.traits.tools and not self.traits.tools_move else [],
                    thinking=thinking,
                )
            except TemplateRefused:
                continue
            if text.count(_MARK) == 1:
                found.add(text.partition(_MARK)[2])
        return frozenset(found)

    def _lead(self, before: Sequence[Turn], after: Sequence[Turn], thinking: bool) -> str | None:
        tools = self.traits.tools and not self.traits.tools_move
        try:
            start = self._text(before, tools=tools, thinking=thinking)
            text = self._text([*before, *after], tools=tools, thinking=thinking)
        except TemplateRefused:
            return None
        if not text.startswith(start) or text.count(_MARK) != 1:
            return None
        return text[len(start) : text.index(_MARK)]


def common_prefix(*texts: str) -> str:
    """The longest text that all of them begin with."""
    low, high = min(texts), max(texts)
    for at, letter in enumerate(low):
        if at >= len(high) or high[at] != letter:
            return low[:at]
    return low

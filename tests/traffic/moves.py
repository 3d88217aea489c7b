"""What happens to a conversation besides talk: edits, rewinds, compactions, hang-ups.

A :class:`Move` changes the conversation and says in the request's truth what that must cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from anyclaude.types import PrefixBreak
from tests.traffic import words
from tests.traffic.talk import Json, Outcome, Shot, Talk, Truth

if TYPE_CHECKING:
    from tests.traffic.generator import Traffic

WORTH = 700
"""Tokens a change has to cost, so that its cause shows."""


@dataclass(eq=False)
class Session:
    """A main loop with its subagents. ``due``: what must come next."""

    talk: Talk
    turns_left: int
    due: Move | None = None
    held_back: list[Shot] = field(default_factory=list)
    _agents: list[tuple[Talk, int]] = field(default_factory=list)
    _named: int = 0

    @property
    def quiet(self) -> bool:
        """Nothing is under way: a place where a user may leave for the day."""
        return not (self._agents or self.due or self.held_back or self.talk.pending)

    def wake(self, turns: int) -> None:
        """Resumed after a long time: others have had the memory since."""
        self.turns_left = turns
        self.talk.strict = False

    def lose(self, cause: PrefixBreak) -> None:
        """Another model has nothing of it, whether the cache is flushed besides or not."""
        for talk in (self.talk, *(agent for agent, _ in self._agents)):
            if talk.lost is not PrefixBreak.OTHER_MODEL:
                talk.lost = cause
            talk.marks = []
        for shot in self.held_back:
            shot.truth = self.talk.next_truth(shot.truth.op)
        if self.due is not None and self.due.name == "echo":
            self.due = None  # The answer to be changed is lost all the same.

    def shares_head(self, other: Session) -> bool:
        a, b = self.talk, other.talk
        return (
            self is not other
            and a.tools == b.tools
            and a.system == b.system
            and bool(b.floor)
            and b.strict
            and b.lost is None
        )

    # ------------------------------------------------------------------------------- agents

    def call_agents(self, many: int) -> str:
        """The calls, and the agents with the turns each will take."""
        talk, calls = self.talk, []
        for _ in range(many):
            self._named += 1
            agent = Talk(
                talk.session,
                talk.project,
                words.AGENT_TOOLS,
                words.agent_prompt("general-purpose"),
                talk.answers,
                talk.rng,
                agent=f"{self._named:08x}",
                billing=talk.billing,
                strict=False,
            )
            self._agents.append((agent, talk.rng.randint(2, 4)))
            calls.append(
                words.call("Agent", description="Look", prompt="Look", subagent_type="general")
            )
        return "".join(calls)

    def running_agents(self) -> list[Talk]:
        """Those that the main loop waits for, once it has called them."""
        if not any(use["name"] == "Agent" for use in self.talk.pending):
            return []
        return [agent for agent, left in self._agents if left]

    def agent_turn(self, agent: Talk) -> bool:
        """Counts a turn of an agent; true for its last."""
        self._agents = [(a, left - (a is agent)) for a, left in self._agents]
        return any(a is agent and not left for a, left in self._agents)

    def report(self, use: Json) -> str:
        """What an agent that is done tells the main loop; empty for another tool,
        and for an agent that was never run."""
        if use["name"] != "Agent" or not self._agents:
            return ""
        agent, _ = self._agents.pop(0)
        if not agent.messages:
            return ""
        return str(agent.messages[-1]["content"][0]["text"])


@dataclass(frozen=True, eq=False)
class Move:
    name: str
    possible: Callable[[Session], bool]
    make: Callable[[Session, Traffic], Shot]


def _changed(talk: Talk, op: str, cause: PrefixBreak, floor: int = 0, **more: Any) -> Shot:
    """A request whose prompt is no extension of the last: what is held for certain, and why."""
    if talk.lost is not None:  # Both are true, and nothing is held.
        return talk.shoot(Truth(op, frozenset({cause, talk.lost})))
    if not talk.strict:  # Resumed with a request for a summary, and nobody's main loop since.
        return talk.shoot(Truth(op, frozenset({cause, PrefixBreak.EVICTED})))
    return talk.shoot(Truth(op, frozenset({cause}), floor, strict=True, **more))


def _long(session: Session) -> bool:
    return session.talk.floor > WORTH + 800


# --------------------------------------------------------------------------------- compaction


def _compact(session: Session, traffic: Traffic) -> Shot:
    """The summary is asked for with all of the history; the new conversation is due next."""
    talk = session.talk
    answer = traffic.answers.mark(f"<summary>{words.prose(traffic.rng, 60)}</summary>")
    before, floor = list(talk.messages), talk.floor
    truth = talk.next_truth("summary")
    talk.say(f"{words.SUMMARISE}{words.prose(talk.rng, 150)} {answer}")
    counted, talk.budget = talk.budget, False
    shot = talk.shoot(truth)
    talk.messages, talk.budget = before, counted
    session.due = Move("compacted", lambda session: True, _compacted)

    def settle(outcome: Outcome) -> None:
        talk.floor, talk.lost = floor, None

    shot.settle = settle
    return shot


def _compacted(session: Session, traffic: Traffic) -> Shot:
    talk = session.talk
    talk.messages, talk.marks, talk.pending = [], [], []
    talk.begin(words.CONTINUED + words.prose(talk.rng, 640))
    talk.say(f"Go on. {traffic.answer(session)}")
    return _changed(talk, "compacted", PrefixBreak.COMPACTION, head=True)


# ----------------------------------------------------------------------------- changed history


def _clear(session: Session, traffic: Traffic) -> Shot:
    """The client empties an old tool result."""
    talk = session.talk
    index = _old_result(talk)
    assert index is not None
    floor = talk.known_before(index)
    for block in talk.messages[index]["content"]:
        if block["type"] == "tool_result":
            block["content"] = words.CLEARED
    talk.forget_from(index)
    traffic.speak(session)
    return _changed(talk, "cleared", PrefixBreak.HISTORY_CHANGED, floor, head=True)


def _old_result(talk: Talk) -> int | None:
    for index, message in enumerate(talk.messages):
        if message["role"] == "user" and isinstance(message["content"], list):
            results = [b for b in message["content"] if b["type"] == "tool_result"]
            fresh = any(b["content"] != words.CLEARED for b in results)
            if results and fresh and talk.floor - _after(talk, index) > WORTH:
                return index
    return None


def _after(talk: Talk, index: int) -> int:
    """Tokens that lie before the end of ``messages[index]``, by the next answered request."""
    later = [m.prompt for m in talk.marks if m.messages > index]
    return min(later, default=talk.floor)


def _rewind(session: Session, traffic: Traffic) -> Shot:
    """Back to an earlier answer, and on from there with a long paste."""
    talk = session.talk
    mark = talk.rng.choice(talk.marks[1:-2])
    talk.messages = talk.messages[: mark.messages + 1]
    talk.marks = [m for m in talk.marks if m.messages <= mark.messages]
    uses = [b for b in talk.messages[-1]["content"] if b["type"] == "tool_use"]
    talk.pending = uses
    text = words.prose(talk.rng, 640)
    traffic.speak(session, text)
    return _changed(talk, "rewind", PrefixBreak.HISTORY_CHANGED, mark.held, head=True)


def _note(session: Session, traffic: Traffic) -> Shot:
    """A system message in the middle, after the turn's own."""
    talk = session.talk
    traffic.speak(session)
    talk.messages.append({"role": "system", "content": f"[note] {words.prose(talk.rng, 40)}"})
    return talk.shoot(talk.next_truth("note"))


def _notes(talk: Talk) -> list[int]:
    return [
        index
        for index, message in enumerate(talk.messages)
        if message["role"] == "system"
        and str(message["content"]).startswith("[note]")
        and talk.floor - _after(talk, index) > WORTH
    ]


def _move_note(session: Session, traffic: Traffic) -> Shot:
    """The same system message now stands at the end."""
    talk = session.talk
    index = _notes(talk)[0]
    floor = talk.known_before(index)
    moved = talk.messages.pop(index)
    talk.forget_from(index)
    traffic.speak(session)
    talk.messages.append(moved)
    return _changed(talk, "moved", PrefixBreak.SYSTEM_MOVED, floor, head=True)


def _long_answer(session: Session, traffic: Traffic) -> Shot:
    """An answer long enough that its loss shows; a hook changes it before it comes back."""
    traffic.speak(session, answer=traffic.answer(session, kind="long"))
    session.due = Move("echo", lambda session: True, _change_echo)
    talk = session.talk
    return talk.shoot(talk.next_truth("long"))


def _change_echo(session: Session, traffic: Traffic) -> Shot:
    talk = session.talk
    block = talk.messages[-1]["content"][-1]
    block["text"] = f"(edited by a hook) {block['text']}"
    mark = talk.marks.pop()
    traffic.speak(session)
    return _changed(talk, "echo", PrefixBreak.ECHO_CHANGED, mark.prompt, head=True)


# -------------------------------------------------------------------------------- changed head


def _tools(session: Session, traffic: Traffic) -> Shot:
    """An MCP server comes or goes, or ``/model`` changes what the tools say of themselves."""
    talk = session.talk
    if words.MCP in talk.tools:
        talk.tools = tuple(t for t in talk.tools if t != words.MCP)
    else:
        talk.tools = words.with_tool(talk.tools, words.MCP)
    talk.marks = []
    traffic.speak(session)
    return _changed(talk, "tools", PrefixBreak.TOOLS_CHANGED)


def _system(session: Session, traffic: Traffic) -> Shot:
    talk = session.talk
    talk.system = f"Output style {traffic.rng.randrange(10**6)}.\n{talk.system}"
    talk.marks = []
    traffic.speak(session)
    return _changed(talk, "system", PrefixBreak.SYSTEM_CHANGED)


# ------------------------------------------------------------------------- changes of no weight


def _billing(session: Session, traffic: Traffic) -> Shot:
    session.talk.billing = f"{traffic.rng.randrange(16**3):03x}"
    return traffic.turn(session, "billing")


def _budget(session: Session, traffic: Traffic) -> Shot:
    session.talk.budget = not session.talk.budget
    return traffic.turn(session, "budget")


# ------------------------------------------------------------------------------------ hang-ups


def _leave_prefill(session: Session, traffic: Traffic) -> Shot:
    """The client gives up before the first token, and asks the same again."""
    talk = session.talk
    traffic.speak(session, words.prose(talk.rng, 640))
    session.due = Move("again", lambda session: True, _again)
    return talk.shoot(talk.next_truth("prefill cut"), cut="prefill", again=True)


def _leave_decode(session: Session, traffic: Traffic) -> Shot:
    """The stream breaks in the middle of the answer; the client asks again, not streamed."""
    talk = session.talk
    traffic.speak(session, answer=traffic.answers.mark(words.prose(traffic.rng, 60)))
    session.due = Move("again", lambda session: True, _again)
    return talk.shoot(talk.next_truth("decode cut"), cut="decode", again=True)


def _again(session: Session, traffic: Traffic) -> Shot:
    """What a cut prefill had still to read was lost before, or never there: both are true."""
    talk = session.talk
    truth = talk.next_truth("again")
    if talk.lost is not None:
        truth = replace(truth, causes=truth.causes | {PrefixBreak.NONE})
    return talk.shoot(truth, stream=traffic.rng.random() < 0.5)


def _interrupt(session: Session, traffic: Traffic) -> Shot:
    """Esc: what there is of the answer stays, and the user says something else."""
    talk = session.talk
    traffic.speak(session, answer=traffic.answers.mark(words.prose(traffic.rng, 60)))
    session.due = Move("interrupted", lambda session: True, _interrupted)
    return talk.shoot(talk.next_truth("decode cut"), cut="decode")


def _interrupted(session: Session, traffic: Traffic) -> Shot:
    traffic.speak(session, f"{words.INTERRUPTED}\n{words.prose(session.talk.rng, 20)}")
    return session.talk.shoot(session.talk.next_truth("interrupted"))


def _settled(session: Session) -> bool:
    return not session.talk.pending and _long(session)


MOVES: tuple[Move, ...] = (
    Move("compact", lambda s: _settled(s) and s.talk.floor > 2_500, _compact),
    Move("clear", lambda s: _long(s) and _old_result(s.talk) is not None, _clear),
    Move("rewind", lambda s: _settled(s) and len(s.talk.marks) > 4, _rewind),
    Move("note", lambda s: bool(s.talk.floor), _note),
    Move("move note", lambda s: bool(_notes(s.talk)), _move_note),
    Move("echo", lambda s: _settled(s), _long_answer),
    Move("tools", _long, _tools),
    Move("system", _long, _system),
    Move("billing", lambda s: bool(s.talk.floor), _billing),
    Move("budget", lambda s: bool(s.talk.floor), _budget),
    Move("leave prefill", _settled, _leave_prefill),
    Move("leave decode", _long, _leave_decode),
    Move("interrupt", _settled, _interrupt),
)

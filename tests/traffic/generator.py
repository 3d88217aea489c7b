"""Simulated Claude Code traffic: sessions, subagents, side calls, and all that breaks a prefix.

A :class:`Traffic` hands out beats, the requests that are under way together, and goes on from
what came of them. Everything is drawn from one seed. It says of each request what may be missing
in the cache and why; see :class:`~tests.traffic.talk.Truth`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from anyclaude.types import PrefixBreak
from tests.traffic import words
from tests.traffic.moves import MOVES, Move, Session
from tests.traffic.side import count_burst, model_probe, title_call, web_search
from tests.traffic.talk import Answers, Shot, Talk, Truth

PROJECTS = ("anyclaude", "website")
LIVE = 3
TURNS = (18, 36)
RESULT_WORDS = (15, 15, 60, 60, 180, 420)
COMPACT_OVER = 4_500


@dataclass(frozen=True, slots=True)
class Beat:
    """Requests sent at once, or something done to the server; ``seconds`` pass before it."""

    seconds: float
    shots: tuple[Shot, ...] = ()
    action: Literal["", "flush", "swap"] = ""


@dataclass
class Traffic:
    """``requests`` of it over ``hours`` of simulated time; ``swaps`` of the model among them."""

    seed: int
    requests: int
    hours: float = 2.0
    actions: bool = True
    answers: Answers = field(default_factory=Answers)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.sent = 0
        self.ops: dict[str, int] = {}
        self._named = 0
        self._live: list[Session] = []
        self._asleep: deque[Session] = deque()
        self._bag: list[Move] = []
        self._empty = True  # Nothing was asked of this model since its cache was empty.

    # --------------------------------------------------------------------------------- beats

    def beats(self) -> Iterator[Beat]:
        """Ends after ``requests``. Settle a beat's shots before the next is taken."""
        second = self.hours * 3600 / self.requests
        actions = self._planned_actions()
        while self.sent < self.requests:
            if actions and self.sent >= actions[0][0]:
                yield Beat(second, action=self._act(actions.popleft()[1]))
                continue
            shots = self._shots()
            self.sent += len(shots)
            for shot in shots:
                self.ops[shot.truth.op] = self.ops.get(shot.truth.op, 0) + 1
            yield Beat(second * len(shots) * self.rng.uniform(0.5, 1.5), shots)

    def _planned_actions(self) -> deque[tuple[int, Literal["flush", "swap"]]]:
        """Two flushes and a change of the model, all in the first quarter: then memory fills."""
        if not self.actions:
            return deque()
        n = self.requests
        return deque([(n // 9, "flush"), (n // 6, "swap"), (n // 4, "flush")])

    def _act(self, action: Literal["flush", "swap"]) -> Literal["flush", "swap"]:
        cause = PrefixBreak.FLUSHED if action == "flush" else PrefixBreak.OTHER_MODEL
        self._empty = True
        for session in (*self._live, *self._asleep):
            session.lose(cause)
        return action

    def _shots(self) -> tuple[Shot, ...]:
        self._fill()
        if self._empty:
            sessions = [self.rng.choice(self._live)]
        else:
            sessions = self.rng.sample(self._live, self.rng.choice((1, 1, 2, 2, 3)))
        shots: list[Shot] = []
        for session in sessions:
            drawn = self._session_shots(session)
            if any(shot.cut for shot in drawn):  # Who hangs up does so with nobody else there.
                return tuple(drawn) if not shots else tuple(shots) + self._later(session, drawn)
            shots += drawn
        self._empty = False
        return tuple(shots)

    def _later(self, session: Session, drawn: list[Shot]) -> tuple[Shot, ...]:
        session.held_back = drawn
        return ()

    # ------------------------------------------------------------------------------ sessions

    def _fill(self) -> None:
        for session in [s for s in self._live if s.turns_left <= 0 and s.quiet]:
            self._live.remove(session)
            self._asleep.append(session)
        while len(self._live) < LIVE:
            if len(self._asleep) > 3 and self.rng.random() < 0.4:
                session = self._asleep.popleft()
                session.wake(self.rng.randint(*TURNS) // 2)
            else:
                session = self._new_session()
            self._live.append(session)
        while len(self._asleep) > 8:
            self._asleep.popleft()

    def _new_session(self) -> Session:
        self._named += 1
        project = self.rng.choice(PROJECTS)
        talk = Talk(
            f"session-{self.seed}-{self._named}",
            project,
            words.TOOLS,
            words.system_prompt(project),
            self.answers,
            random.Random(f"{self.seed}/{self._named}"),
            billing=f"{self._named:03x}",
            budget=self._named % 3 == 0,
        )
        return Session(talk, self.rng.randint(*TURNS))

    def _session_shots(self, session: Session) -> list[Shot]:
        """The next request of a session, with what goes out beside it."""
        if session.held_back:
            held, session.held_back = session.held_back, []
            return held
        session.turns_left -= 1
        if agents := session.running_agents():
            return [self._agent_shot(session, agent) for agent in agents]
        if not session.talk.messages:
            return self._first(session)
        move = self._next_move(session)
        side = self._side(session) if move is None or move.name == "tools" else []
        shot = move.make(session, self) if move is not None else self.turn(session)
        return [shot] if shot.cut else [shot, *side]

    def _first(self, session: Session) -> list[Shot]:
        talk = session.talk
        talk.begin(f"{words.prose(talk.rng, 30)} {self.answer(session)}")
        head = any(session.shares_head(other) for other in self._live)
        shot = talk.shoot(Truth("first", self._first_causes(), head=head and not self._empty))
        return [shot] if self._empty else [shot, title_call(talk, self.answers)]

    def _first_causes(self) -> frozenset[PrefixBreak]:
        """Of a conversation's first prompt; both are true when the cache was emptied before."""
        if not self.sent:
            return frozenset({PrefixBreak.COLD})
        cold = (PrefixBreak.COLD,) if self._empty else ()
        return frozenset({PrefixBreak.NEW_SESSION, *cold})

    def _side(self, session: Session) -> list[Shot]:
        """Small calls beside the main one, now and then."""
        drawn = self.rng.random()
        if drawn < 0.02:
            return count_burst(session.talk)
        if drawn < 0.06:
            return [web_search(session.talk, self.answers)]
        return [model_probe(session.talk)] if drawn < 0.08 else []

    # --------------------------------------------------------------------------------- turns

    def _next_move(self, session: Session) -> Move | None:
        """Something out of the ordinary, what was rarest first."""
        if session.due is not None:
            move, session.due = session.due, None
            return move
        talk = session.talk
        if talk.lost is not None or not talk.strict or self.rng.random() < 0.4:
            return None
        for move in self._bag:
            if move.possible(session):
                self._bag.remove(move)
                return move
        if len(self._bag) < len(MOVES) // 2:  # What is left can't be done yet; it stays first.
            rest = [move for move in MOVES if move not in self._bag]
            self._bag += self.rng.sample(rest, len(rest))
        return None

    def turn(self, session: Session, op: str = "turn", text: str = "") -> Shot:
        """An ordinary turn: results for the calls that wait, or something the user says."""
        talk = session.talk
        if not talk.pending and talk.floor > COMPACT_OVER and op == "turn":
            return MOVES[0].make(session, self)
        self.speak(session, text)
        truth = talk.next_truth("resumed" if not talk.strict and op == "turn" else op)
        return talk.shoot(truth, stream=self.rng.random() < 0.85)

    def speak(self, session: Session, text: str = "", answer: str = "") -> None:
        """Adds the turn to the conversation, without asking for the answer yet."""
        talk = session.talk
        mark = answer or self.answer(session)
        if talk.pending:
            reports = [
                session.report(use) or words.prose(talk.rng, self.rng.choice(RESULT_WORDS))
                for use in talk.pending
            ]
            talk.results(reports, mark)
            if text:
                talk.say(text)
        else:
            talk.say(f"{text or words.prose(talk.rng, self.rng.randint(5, 60))} {mark}")

    def answer(self, session: Session, *, kind: str = "") -> str:
        """A mark for an answer of some kind; agents that it calls begin to run."""
        rng, talk = self.rng, session.talk
        folder = f"/home/u/{talk.project}"
        path = f"{folder}/{rng.choice(('a', 'b', 'c'))}{rng.randrange(100)}.py"
        kinds = ("text", "text", "read", "bash", "edit", "write", "many", "search", "agents")
        match kind or rng.choice(kinds):
            case "read":
                text = "I look.\n" + words.call("Read", file_path=path)
            case "bash":
                command = f"cd {folder} && python3 {path}"
                text = words.call("Bash", description="Run it", command=command, timeout=5000)
            case "edit":
                text = words.call("Edit", new_string="two()", old_string="one()", file_path=path)
            case "write":
                body = f"def one():   \n    return {rng.randrange(1000)}\n"
                text = words.call("Write", content=body, file_path=path) + "\nWritten."
            case "many":
                text = "".join(words.call("Read", file_path=f"{path}{n}") for n in range(2))
            case "search":
                name = rng.choice(sorted(words.DEFERRED))
                text = words.call("ToolSearch", query=f"select:{name}", max_results=3)
            case "agents":
                text = session.call_agents(rng.randint(1, 2))
            case "long":
                text = words.prose(rng, 620)
            case _:
                text = words.prose(rng, rng.randint(4, 16))
        return self.answers.mark(text)

    def _agent_shot(self, session: Session, agent: Talk) -> Shot:
        """A subagent's first request, or its next with what its tools said."""
        last = session.agent_turn(agent)
        reply = words.prose(self.rng, 10) if last else words.call("Read", file_path="/tmp/x.py")
        mark = self.answers.mark(reply)
        if agent.messages:
            agent.results(
                [words.prose(agent.rng, self.rng.choice((60, 180, 420))) for _ in agent.pending],
                mark,
            )
        else:
            agent.begin(f"{words.prose(agent.rng, 120)} {mark}")
            return agent.shoot(Truth("agent", self._first_causes()))
        return agent.shoot(agent.next_truth("agent turn"))

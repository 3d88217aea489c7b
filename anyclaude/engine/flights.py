"""Who listens to which job: identical requests share one.

A client that gave up and asks again, or two that ask the same, must not cost two prefills. With
greedy sampling the answer is the same too, so a second request listens to the first one's job,
what was already said first. With random sampling every live client gets an answer of its own
(the prefill is shared on the MLX thread); only when the first client has gone is its answer
handed on. Loop thread only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from anyclaude.backend import Delta, Finish, Prefill
from anyclaude.engine.generation import MlxGeneration
from anyclaude.engine.job import JobReport
from anyclaude.engine.sampling import ResolvedSampling
from anyclaude.types import Tokens


@dataclass(frozen=True, slots=True)
class FlightKey:
    """What makes two requests the same work."""

    tokens: Tokens
    max_tokens: int
    sampling: ResolvedSampling
    stop_sequences: tuple[str, ...]
    grammar: str = ""


@dataclass(slots=True, eq=False)
class Flight:
    """One job and its listeners; ``said`` is the answer so far."""

    job_id: str
    key: FlightKey
    listeners: list[MlxGeneration] = field(default_factory=list)
    progress: Prefill | None = None
    said: str = ""
    tokens: int = 0

    @property
    def unread_tokens(self) -> int:
        """Tokens of the prompt that the model has yet to read."""
        if self.tokens:
            return 0
        reused = max((g.admission.usage.cache_read_tokens for g in self.listeners), default=0)
        done = self.progress.done if self.progress is not None else reused
        return max(0, len(self.key.tokens) - done)

    def attach(self, generation: MlxGeneration) -> None:
        """Adds a listener, who first hears what the others have heard."""
        if self.progress is not None:
            generation.push(self.progress)
        if self.tokens:
            generation.push(Delta(self.said, self.tokens))
        self.listeners.append(generation)

    def push(self, report: JobReport) -> None:
        match report:
            case Prefill():
                self.progress = report
            case Delta():
                self.said += report.text
                self.tokens += report.tokens
        for listener in self.listeners:
            listener.push(report)


class Flights:
    """Every open job."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}

    def __len__(self) -> int:
        return sum(len(flight.listeners) for flight in self._flights.values())

    @property
    def listeners(self) -> Iterator[MlxGeneration]:
        return (g for flight in tuple(self._flights.values()) for g in tuple(flight.listeners))

    @property
    def unread_tokens(self) -> int:
        """Tokens that have to be read before all answers have begun."""
        return sum(flight.unread_tokens for flight in self._flights.values())

    def shared(self, key: FlightKey) -> Flight | None:
        """An open job whose answer is this one's too."""
        return next(self._same(key), None) if key.sampling.greedy else None

    def add(self, key: FlightKey, generation: MlxGeneration) -> None:
        """A new job, named like its first listener."""
        flight = Flight(generation.job_id, key)
        self._flights[flight.job_id] = flight
        flight.attach(generation)

    def deliver(self, job_id: str, report: JobReport) -> Flight | None:
        """Passes a report on; the job it belongs to, if anyone still listens."""
        flight = self._flights.get(job_id)
        if flight is None:
            return None
        if isinstance(report, (Finish, BaseException)):
            del self._flights[job_id]
        flight.push(report)
        return flight

    def leave(self, generation: MlxGeneration) -> str | None:
        """A client has gone. The job that nobody needs any more, to be cancelled."""
        flight = next((f for f in self._flights.values() if generation in f.listeners), None)
        if flight is None:
            return None
        flight.listeners.remove(generation)
        if flight.listeners:
            return None
        heir = next((f for f in self._same(flight.key) if f is not flight and not f.tokens), None)
        if heir is None:
            del self._flights[flight.job_id]
            return flight.job_id
        del self._flights[heir.job_id]
        for listener in heir.listeners:
            flight.attach(listener)
        return heir.job_id

    def fail(self, error: BaseException) -> None:
        """Ends everything."""
        flights, self._flights = tuple(self._flights.values()), {}
        for flight in flights:
            flight.push(error)

    def _same(self, key: FlightKey) -> Iterator[Flight]:
        return (flight for flight in self._flights.values() if flight.key == key)

"""What was measured of targets while they worked, so that strategies needn't guess.

Everything is bounded: averages are decayed sums, windows have few buckets, targets that nobody
asks for make room for others.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from anyclaude.errors import ApiError
from anyclaude.routing.values import Clock, Target

HALF_LIFE = 60.0
"""Seconds after which a sample counts half."""
MINUTE = 60.0
SAMPLES = 128
"""Times to first token that are kept for the console's percentiles."""
FADED = 2.0**-10
"""The weight below which an average is forgotten: a single sample after ten half-lives."""
_BUCKETS = 60
_PRIOR = 0.05
"""How hard the line through times by prompt size is drawn to the origin, in samples squared."""


class Decayed:
    """Sums in which a sample counts half after each half-life, kept up to date together."""

    __slots__ = ("_at", "_half_life", "sums", "weight")

    def __init__(self, size: int, half_life: float) -> None:
        self.sums = [0.0] * size
        self.weight = 0.0
        self._half_life = half_life
        self._at = 0.0

    def add(self, at: float, *values: float) -> None:
        self._fade(at)
        self.weight += 1.0
        for index, value in enumerate(values):
            self.sums[index] += value

    def known(self, at: float) -> bool:
        """Whether anything is left that says something."""
        self._fade(at)
        return self.weight > FADED

    def mean(self, at: float, index: int = 0) -> float | None:
        return self.sums[index] / self.weight if self.known(at) else None

    def _fade(self, at: float) -> None:
        elapsed = at - self._at
        if elapsed <= 0:
            return
        self._at = at
        if self.weight:
            factor = 0.5 ** (elapsed / self._half_life)
            self.weight *= factor
            self.sums = [value * factor for value in self.sums]


class FirstTokenLine:
    """Seconds to the first token over the prompt tokens that had to be read.

    A line with a time for nothing and a time per token, neither below 0, by decayed least
    squares. As long as prompts have been of one size it goes through the origin, and is the mere
    time per token.
    """

    def __init__(self, half_life: float) -> None:
        self._sums = Decayed(4, half_life)

    def add(self, at: float, tokens: int, seconds: float) -> None:
        x = float(max(1, tokens))
        self._sums.add(at, x, seconds, x * x, x * seconds)

    def per_token(self, at: float) -> float | None:
        """Seconds per token read, the time for nothing included."""
        return self._sums.sums[1] / self._sums.sums[0] if self._sums.known(at) else None

    def seconds(self, at: float, tokens: int) -> float | None:
        """What a prompt of so many new tokens should take; ``None`` when nothing is known."""
        if not self._sums.known(at):
            return None
        x, y, xx, xy = (total / self._sums.weight for total in self._sums.sums)
        ratio = y / x
        spread, prior = max(0.0, xx - x * x), _PRIOR * x * x
        slope = min(ratio, max(0.0, (xy - x * y + prior * ratio) / (spread + prior)))
        return y - slope * x + slope * max(1, tokens)


class Window:
    """A sum over the last seconds, which leave by the bucket."""

    __slots__ = ("_buckets", "_count", "_total", "_width")

    def __init__(self, seconds: float = MINUTE, buckets: int = _BUCKETS) -> None:
        self._width = seconds / buckets
        self._count = buckets
        self._buckets: deque[tuple[int, float]] = deque()
        self._total = 0.0

    def add(self, at: float, value: float = 1.0) -> None:
        bucket = self._leave(at)
        self._total += value
        if self._buckets and self._buckets[-1][0] == bucket:
            value += self._buckets.pop()[1]
        self._buckets.append((bucket, value))

    def total(self, at: float) -> float:
        self._leave(at)
        return self._total

    def _leave(self, at: float) -> int:
        bucket = int(at // self._width)
        while self._buckets and self._buckets[0][0] <= bucket - self._count:
            self._total -= self._buckets.popleft()[1]
        return bucket


@dataclass(frozen=True, slots=True)
class LastError:
    """What went wrong last with a target, and when on the routing's clock."""

    at: float
    status: int
    category: str
    message: str


@dataclass(frozen=True, slots=True)
class TargetView:
    """A target's figures for a person; times in seconds, ``None`` where nothing is known."""

    target: Target
    in_flight: int
    ttft_p50: float | None
    ttft_p95: float | None
    ttft_per_token: float | None
    tokens_per_second: float | None
    tokens_per_minute: int
    calls_per_minute: int
    error_ratio: float
    last_error: LastError | None


class TargetFigures:
    """The live figures of one target."""

    def __init__(self, target: Target, half_life: float = HALF_LIFE) -> None:
        self.target = target
        self.in_flight = 0
        self.last_error: LastError | None = None
        self._line = FirstTokenLine(half_life)
        self._speed = Decayed(2, half_life)
        self._output = Decayed(1, half_life)
        self._duration = Decayed(1, half_life)
        self._failure = Decayed(1, half_life)
        self._wait = Decayed(1, half_life)
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._tokens = Window()
        self._calls = Window()
        self._failed = Window()

    # ------------------------------------------------------------------------- what happens

    def began(self, at: float, waited: float) -> None:
        """A request's turn came after so many seconds in the queue."""
        self.in_flight += 1
        self._wait.add(at, waited)

    def ended(self) -> None:
        self.in_flight -= 1

    def first_content(self, at: float, seconds: float, new_tokens: int) -> None:
        """Content came ``seconds`` after the target was asked to read so many tokens."""
        self._line.add(at, new_tokens, seconds)
        self._samples.append(seconds)

    def finished(
        self, at: float, tokens: int, output: int, duration: float, decode: float | None
    ) -> None:
        """A whole answer: all tokens, those of output, seconds in all and from the first on.

        Without output it was a question of another kind, and no measure of answers.
        """
        self._calls.add(at)
        self._tokens.add(at, tokens)
        if output <= 0:
            return
        self._output.add(at, output)
        self._duration.add(at, duration)
        if decode is not None and decode > 0 and output > 1:
            # Sums of both, so that a long answer says more than a short one.
            self._speed.add(at, output - 1, decode)

    def failed(self, at: float, seconds: float, error: ApiError) -> None:
        """An attempt that came to nothing after so many seconds, through the target's fault."""
        self._calls.add(at)
        self._failed.add(at)
        self._failure.add(at, seconds)
        self.last_error = LastError(at, error.status, error.category, error.message)

    # ------------------------------------------------------------------------ what is known

    def first_token_seconds(self, at: float, tokens: int) -> float | None:
        """Expected seconds to the first token of a prompt with so many new tokens."""
        return self._line.seconds(at, tokens)

    def tokens_per_second(self, at: float) -> float | None:
        if not self._speed.known(at) or self._speed.sums[1] <= 0:
            return None
        return self._speed.sums[0] / self._speed.sums[1]

    def output_tokens(self, at: float) -> float | None:
        """Of an answer, on average."""
        return self._output.mean(at)

    def duration(self, at: float) -> float | None:
        """Seconds of an answer from beginning to end, on average."""
        return self._duration.mean(at)

    def wait_seconds(self, at: float) -> float:
        """What requests waited for their turn lately, on average."""
        return self._wait.mean(at) or 0.0

    def failure_seconds(self, at: float) -> float:
        """What an attempt that fails costs before it is known; 0 when none has."""
        return self._failure.mean(at) or 0.0

    def tokens_this_minute(self, at: float) -> float:
        return self._tokens.total(at)

    def calls_this_minute(self, at: float) -> int:
        return int(self._calls.total(at))

    def failures_this_minute(self, at: float) -> int:
        return int(self._failed.total(at))

    def error_ratio(self, at: float) -> float:
        """Failed calls among the last minute's, 0 to 1."""
        calls = self._calls.total(at)
        return self._failed.total(at) / calls if calls else 0.0

    def view(self, at: float) -> TargetView:
        ordered = sorted(self._samples)
        return TargetView(
            target=self.target,
            in_flight=self.in_flight,
            ttft_p50=_percentile(ordered, 0.5),
            ttft_p95=_percentile(ordered, 0.95),
            ttft_per_token=self._line.per_token(at),
            tokens_per_second=self.tokens_per_second(at),
            tokens_per_minute=int(self.tokens_this_minute(at)),
            calls_per_minute=self.calls_this_minute(at),
            error_ratio=self.error_ratio(at),
            last_error=self.last_error,
        )


class FiguresBook:
    """Figures of every target that was asked lately.

    Clients name models as they like: beyond ``limit`` those longest unused make room, never one
    that is at work.
    """

    def __init__(self, clock: Clock, *, half_life: float = HALF_LIFE, limit: int = 256) -> None:
        self._clock = clock
        self._half_life = half_life
        self._limit = limit
        self._of: OrderedDict[Target, TargetFigures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._of)

    def of(self, target: Target) -> TargetFigures:
        """The figures of a target with its model's name."""
        figures = self._of.get(target)
        if figures is None:
            figures = self._of[target] = TargetFigures(target, self._half_life)
            self._shrink()
        else:
            self._of.move_to_end(target)
        return figures

    def of_backend(self, backend: str) -> tuple[TargetFigures, ...]:
        return tuple(f for t, f in self._of.items() if t.backend == backend)

    def duration_at(self, backend: str) -> float | None:
        """Seconds of an answer at a backend, whatever the model; ``None`` when nothing is known."""
        now = self._clock()
        known = [d for f in self.of_backend(backend) if (d := f.duration(now)) is not None]
        return sum(known) / len(known) if known else None

    def _shrink(self) -> None:
        newest = next(reversed(self._of))
        for target in tuple(self._of):
            if len(self._of) <= self._limit:
                return
            if target != newest and not self._of[target].in_flight:
                del self._of[target]


def _percentile(ordered: list[float], share: float) -> float | None:
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

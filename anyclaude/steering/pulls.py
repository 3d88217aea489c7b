"""One download of a model at a time, in the background, with what becomes of it as events."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from anyclaude.engine.catalog import Catalog
from anyclaude.engine.hub import Cancelled
from anyclaude.errors import AnyclaudeError, Conflict, Unavailable
from anyclaude.events import Bus, Event, PullPhase, PullState, SystemEvent

TELL_SECONDS = 0.25
"""Between two events of progress."""
LEAVE_SECONDS = 0.3
"""How long a download that is to end is waited for; its thread dies with the process."""


class Pulls:
    """Event-loop thread. What has arrived of a download that ends early is kept by the library,
    and the next one goes on from there."""

    def __init__(
        self,
        catalog: Catalog,
        bus: Bus,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._bus = bus
        self._wall = wall
        self._clock = clock
        self._running: _Pull | None = None
        self._closed = False

    def start(self, name: str) -> None:
        """Begins to download ``name``.

        Raises :class:`Conflict` while another download is under way, and what
        :meth:`Catalog.check_pull` raises.
        """
        if self._closed:
            raise Unavailable("anyclaude is stopping")
        if self._running is not None:
            raise Conflict(
                f"{self._running.state.name} is being downloaded; wait for its end, then pull "
                f"{name}"
            )
        self._catalog.check_pull(name)
        loop = asyncio.get_running_loop()
        pull = _Pull(name, self._catalog, self._clock, lambda call: _post(loop, call), self._tell)
        self._running = pull
        self._bus.publish(pull.state)
        pull.start()

    def _tell(self, state: PullState) -> None:
        self._bus.publish(state)
        if state.phase == "downloading":
            return
        self._running = None
        event = _event(state, self._wall())
        if event is not None:
            self._bus.publish(event)

    async def close(self) -> None:
        """Has the download end, and waits a little for it."""
        self._closed = True
        pull = self._running
        if pull is None:
            return
        pull.cancelled.set()
        await asyncio.to_thread(pull.join, LEAVE_SECONDS)
        await asyncio.sleep(0)  # What it had to say is on its way.
        if self._running is pull:
            self._tell(pull.told("cancelled", "anyclaude is stopping"))


class _Pull(threading.Thread):
    """The download itself. ``post`` has a call run on the loop, ``tell`` is to be called there."""

    def __init__(
        self,
        name: str,
        catalog: Catalog,
        clock: Callable[[], float],
        post: Callable[[Callable[[], None]], None],
        tell: Callable[[PullState], None],
    ) -> None:
        super().__init__(name="anyclaude-pull", daemon=True)
        self.cancelled = threading.Event()
        self.state = PullState(name, "downloading", detail=f"asking Hugging Face for {name}")
        self._catalog = catalog
        self._clock = clock
        self._post = post
        self._tell = tell
        self._told_at = float("-inf")

    def told(self, phase: PullPhase, detail: str) -> PullState:
        """The state as it is now, with another phase."""
        state = self.state
        return PullState(state.name, phase, state.done_bytes, state.total_bytes, detail)

    def run(self) -> None:
        try:
            path = self._catalog.pull(self.state.name, self._progress, self._counted)
        except Cancelled:
            self._say(self.told("cancelled", "what has arrived is kept for the next time"))
        except AnyclaudeError as error:
            self._say(self.told("failed", error.message))
        except Exception as error:
            self._say(self.told("failed", f"{type(error).__name__}: {error}; pull it again"))
        else:
            self._say(self.told("done", str(path)))

    def _counted(self, done: int, total: int) -> None:
        state = self.state
        self.state = PullState(state.name, state.phase, done, total, state.detail)

    def _progress(self, fraction: float, text: str) -> None:
        if self.cancelled.is_set():
            raise Cancelled
        state, now = self.state, self._clock()
        self.state = PullState(state.name, state.phase, state.done_bytes, state.total_bytes, text)
        if now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            self._say(self.state)

    def _say(self, state: PullState) -> None:
        self._post(lambda: self._tell(state))


def _post(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # The loop may be closed by now.
        loop.call_soon_threadsafe(call)


def _event(state: PullState, at: float) -> Event | None:
    match state.phase:
        case "done":
            message = f"{state.name} was downloaded ({state.total_bytes / 1e9:.1f} GB)"
            return SystemEvent(at, "info", "model", message, detail=state.detail)
        case "failed":
            message = f"downloading {state.name} failed: {state.detail}"
            return SystemEvent(at, "error", "model", message)
        case _:
            return None

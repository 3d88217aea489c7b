"""Turnstiles for the model double: steps pass by number, never by the clock."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from tests.doubles.token_model import Gate


class Turnstile(threading.Event):
    """Open or shut like the gate's own event; shut, it still lets ``admit`` steps through.

    ``waiting`` is set while the model's thread stands before it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Condition()
        self._permits = 0
        self.waiting = threading.Event()

    def admit(self, steps: int = 1) -> None:
        with self._lock:
            self.waiting.clear()
            self._permits += steps
            self._lock.notify_all()

    def set(self) -> None:
        super().set()
        with self._lock:
            self._lock.notify_all()

    def clear(self) -> None:
        with self._lock:
            self._permits = 0
        super().clear()

    def wait(self, timeout: float | None = None) -> bool:
        """The model's side, before each step; it waits however long it takes."""
        with self._lock:
            while not self.is_set() and not self._permits:
                self.waiting.set()
                self._lock.wait()
            self.waiting.clear()
            if self._permits:
                self._permits -= 1
        return True


@dataclass
class StepGate(Gate):
    """A gate whose steps can be let through one by one."""

    open: Turnstile = field(default_factory=Turnstile)


class Recent(dict[tuple[int, ...], list[int]]):
    """The double's memory of its answers, short so that a long run doesn't seem to leak."""

    def __setitem__(self, key: tuple[int, ...], value: list[int]) -> None:
        super().__setitem__(key, value)
        while len(self) > 32:
            del self[next(iter(self))]

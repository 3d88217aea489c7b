"""The bounds that keep one client from harming the others. Seconds and bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Not settings: nothing a user would tune, but tests need them short.

    ``idle_s`` closes a connection between requests and one whose headers don't arrive,
    ``body_s`` is for a whole body, ``stall_s`` for a client that doesn't read while data waits,
    ``linger_s`` for taking in the rest of a refused body so that the refusal can be read.
    At shutdown, connections get ``drain_s`` to end by themselves and ``abort_s`` after that.
    """

    idle_s: float = 75.0
    body_s: float = 60.0
    stall_s: float = 60.0
    linger_s: float = 1.0
    close_s: float = 2.0
    drain_s: float = 1.0
    abort_s: float = 0.5
    header_bytes: int = 64 * 1024
    connections: int = 512

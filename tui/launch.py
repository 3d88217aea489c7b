"""How the console gets its server: one of its own, started after the first paint, or another's.

Nothing heavy is imported here; the runtime and what it needs are imported on a thread while
the screen is already up.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from anyclaude.errors import AnyclaudeError, ConfigError, UsageError
from tui.source import LocalSource, RemoteClient, RemoteSource, Source

if TYPE_CHECKING:
    from anyclaude.config.settings import Settings
    from anyclaude.runtime import Runtime

STOP_BOUND_S = 5.0


@dataclass(frozen=True, slots=True)
class Offer:
    """Another way to start, the binding that takes it, and what pressing that does."""

    binding: str
    text: str
    launch: Launch


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a start failed, for a person, and what can be done about it from here."""

    problem: str
    offers: tuple[Offer, ...] = ()


ELSEWHERE = "server.elsewhere"
ATTACH = "server.attach"


class Launch(Protocol):
    """Starts what the console shows and stops it again."""

    async def start(self, found: Callable[[Source], None]) -> None:
        """Calls ``found`` as soon as events can be heard; returns when it serves.

        Raises whatever kept it from starting; :meth:`explain` puts that into words.
        """
        ...

    async def explain(self, error: Exception) -> Failure:
        """What kept it from starting, and other ways to start."""
        ...

    async def stop(self) -> None:
        """Ends what was started, within a bound; may be called again."""
        ...


class LocalLaunch:
    """The embedded server: the runtime in this process, on this loop.

    ``attach`` makes the launch that shows the server at an address instead.
    """

    def __init__(self, settings: Settings, attach: Callable[[str], Launch] | None = None) -> None:
        self._settings = settings
        self._attach = attach
        self._runtime: Runtime | None = None

    async def start(self, found: Callable[[Source], None]) -> None:
        make = await asyncio.to_thread(_import_runtime)
        runtime = self._runtime = make(self._settings)
        found(LocalSource(runtime))
        await runtime.start()

    @property
    def settings(self) -> Settings:
        return self._settings

    async def explain(self, error: Exception) -> Failure:
        return await asyncio.to_thread(self._explain, error)

    def _explain(self, error: Exception) -> Failure:
        """Who has the port, the log, or the whole data folder, and how to do without."""
        from anyclaude.config.state import read_state
        from tui.exporting import free_path
        from tui.ports import holder, is_busy, next_free

        settings, problem = self._settings, explain(error)
        server = settings.server
        if isinstance(error, UsageError):
            other = read_state(settings.data_dir)
            if other is not None and self._attach is not None:
                offer = Offer(
                    ATTACH, f"attaches to the one at {other.address}", self._attach(other.address)
                )
                return Failure(problem, (offer,))
        elif isinstance(error, ConfigError) and problem.startswith(f"{settings.db} "):
            # Locked, damaged or not ours: another file beside it is a log like any other.
            path = free_path(settings.db)
            offer = Offer(ELSEWHERE, f"starts with a new log, {path.name}", self._like(db=path))
            return Failure(problem, (offer,))
        elif isinstance(error, ConfigError | OSError) and is_busy(server.host, server.port):
            free = next_free(server.host, server.port)
            who = holder(server.port)
            offer = Offer(
                ELSEWHERE,
                f"starts at port {free} instead" if free else "starts at any free port",
                self._like(server=replace(server, port=free)),
            )
            has = f" by {who}" if who is not None else ""
            return Failure(f"Port {server.port} of {server.host} is in use{has}.", (offer,))
        return Failure(problem)

    def _like(self, **changes: object) -> LocalLaunch:
        changed = replace(self._settings, **changes)  # type: ignore[arg-type]
        return LocalLaunch(changed, self._attach)

    async def stop(self) -> None:
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            await asyncio.wait_for(runtime.stop(), STOP_BOUND_S)


class RemoteLaunch:
    """A server that runs already; leaving the console leaves it alone."""

    def __init__(self, connect: Callable[[], tuple[RemoteClient, str]]) -> None:
        self._connect = connect
        self._source: RemoteSource | None = None

    async def start(self, found: Callable[[Source], None]) -> None:
        client, address = await asyncio.to_thread(self._connect)
        self._source = RemoteSource(client, address)
        await client.stats()
        found(self._source)

    async def explain(self, error: Exception) -> Failure:
        return Failure(explain(error), (Offer(ELSEWHERE, "tries again", self),))

    async def stop(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            await asyncio.wait_for(source.close(), STOP_BOUND_S)


class FailedLaunch:
    """A start that failed before there was anything to start, as with a broken config file."""

    def __init__(self, error: AnyclaudeError) -> None:
        self._error = error

    async def start(self, found: Callable[[Source], None]) -> None:
        raise self._error

    async def explain(self, error: Exception) -> Failure:
        return Failure(explain(error))

    async def stop(self) -> None:
        """Nothing was started."""


def _import_runtime() -> type[Runtime]:
    """On a thread, with what it imports while it starts: the loop would stand still that long."""
    import anyclaude.logs.log
    import anyclaude.server.app
    import anyclaude.server.listen  # noqa: F401
    from anyclaude.runtime import Runtime

    return Runtime


def explain(error: BaseException) -> str:
    """Why a start failed, for a person, with what to do next."""
    if isinstance(error, AnyclaudeError):
        return error.message
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return (
            "The port is in use by another program.\n"
            "Quit that one, or start with another port: anyclaude-tui --port 8083"
        )
    if isinstance(error, ImportError):
        return f"A package is missing or broken: {error}\nInstall anyclaude again."
    return f"{type(error).__name__}: {error}"

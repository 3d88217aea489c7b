"""Tool names and call ids in the form that every server takes.

OpenAI takes names of 64 and ids of 40 characters (``[A-Za-z0-9_-]``), and vllm-mlx holds names to
the same; Anthropic's names may be 128 long. What fits goes through as it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

MAX_NAME = 64
MAX_ID = 40

_FIT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FIT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,40}")
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


class Names:
    """The names of one request's tools, both ways: :meth:`sent` and back by :meth:`own`."""

    def __init__(self, names: Iterable[str]) -> None:
        self._sent: dict[str, str] = {}
        self._own: dict[str, str] = {}
        ordered = list(dict.fromkeys(names))
        # Those that fit first, so that none of them is taken for a shortened one.
        for name in sorted(ordered, key=lambda name: _FIT_NAME.fullmatch(name) is None):
            sent = fit_name(name)
            self._sent[name] = sent
            self._own.setdefault(sent, name)

    def sent(self, name: str) -> str:
        return self._sent.get(name) or fit_name(name)

    def own(self, sent: str) -> str:
        """The client's name for what a server calls ``sent``; an unknown one stays as it is."""
        return self._own.get(sent, sent)

    def known(self, sent: str) -> bool:
        return sent in self._own

    def begins(self, sent: str) -> bool:
        """Whether a known name goes on after ``sent``."""
        return any(name != sent and name.startswith(sent) for name in self._own)


def fit_name(name: str) -> str:
    """``name``, or one that fits and is made from it alone."""
    if _FIT_NAME.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{_UNFIT.sub('_', name)[: MAX_NAME - 9]}_{digest}"


def fit_id(call_id: str) -> str:
    """``call_id``, or one that fits and is made from it alone."""
    if _FIT_ID.fullmatch(call_id):
        return call_id
    return "call_" + hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[: MAX_ID - 8]

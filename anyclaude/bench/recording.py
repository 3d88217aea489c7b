"""Recorded requests, as ``anyclaude replay`` reads them.

A recording is a file of JSON lines, each an object with ``body`` (an object, or its JSON text),
and if need be ``headers`` (an object, or pairs) and ``path``; or a trace file of ``log.traces``;
or the folder of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from anyclaude.errors import UsageError
from anyclaude.types import JsonObject

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"

# Of the connection that was, not of the request.
_DROPPED = frozenset(
    {
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type",
        "expect", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
        "upgrade",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request. ``name`` says where it is from; ``body`` is what is sent."""

    name: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def read_recording(path: Path) -> list[Recorded]:
    """Every request in the order in which it was sent.

    Raises UsageError naming the file and line that can't be used.
    """
    try:
        if path.is_dir():
            return _read_folder(path)
        text = path.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}") from error
    found = [_recorded(where, entry) for where, entry in _entries(path, text) if _whole(entry)]
    if not found:
        raise UsageError(f"{path}: holds no request")
    return found


def _read_folder(path: Path) -> list[Recorded]:
    """The traces of a folder, by the time at which the requests came."""
    entries: list[tuple[str, JsonObject]] = []
    for file in sorted(path.glob("*.json")):
        entries += _entries(file, file.read_text("utf-8"))
    entries = [(where, entry) for where, entry in entries if _whole(entry)]
    if not entries:
        raise UsageError(f"{path}: holds no trace; log.traces = true writes them")
    return [_recorded(where, entry) for where, entry in sorted(entries, key=_started_at)]


def _whole(entry: JsonObject) -> bool:
    """False for the trace of a request whose body wasn't kept, such as a count of tokens."""
    return not (_record(entry) and entry.get("body") == "")


def _started_at(entry: tuple[str, JsonObject]) -> float:
    at = _record(entry[1]).get("started_at", 0.0)
    return float(at) if isinstance(at, int | float) else 0.0


def _entries(path: Path, text: str) -> Iterator[tuple[str, JsonObject]]:
    """The object of every line, and where it stands."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, _object(where, _parse(where, line))


def _parse(where: str, text: str) -> object:
    try:
        parsed: object = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON ({error})") from error
    return parsed


def _object(where: str, value: object) -> JsonObject:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: expected an object with a body")
    return cast(JsonObject, value)


def _record(entry: JsonObject) -> JsonObject:
    record = entry.get("record")
    return record if isinstance(record, Mapping) else {}


def _recorded(where: str, entry: JsonObject) -> Recorded:
    body = entry.get("body")
    if not isinstance(body, str | Mapping):
        raise UsageError(
            f"{where}: no body; what 'anyclaude logs export' writes has none, the files in traces/"
            " of the data folder have it (log.traces = true writes them)"
        )
    record = _record(entry)
    path = entry.get("path") or (COUNT if record.get("role") == "count" else MESSAGES)
    if path not in (MESSAGES, COUNT):
        raise UsageError(f"{where}: path is {path!r}; expected {MESSAGES} or {COUNT}")
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return Recorded(
        name=str(entry.get("id") or record.get("id") or where),
        path=str(path),
        headers=tuple(_headers(where, entry.get("headers"))),
        body=text.encode("utf-8", "backslashreplace"),
    )


def _headers(where: str, given: object) -> Iterator[tuple[str, str]]:
    pairs = list(given.items()) if isinstance(given, Mapping) else given
    if not isinstance(pairs, list | None):
        raise UsageError(f"{where}: headers are {given!r}; expected an object or pairs")
    for pair in pairs or ():
        if not (isinstance(pair, Sequence) and len(pair) == 2 and all(map(_is_text, pair))):
            raise UsageError(f"{where}: a header is {pair!r}; expected a name and a value")
        name, value = pair
        if name.lower() not in _DROPPED:
            yield name.lower(), value


def _is_text(value: object) -> bool:
    return isinstance(value, str)

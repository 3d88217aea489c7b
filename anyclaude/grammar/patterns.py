"""Regular expressions of schemas, made into what the grammar's compiler can take."""

from __future__ import annotations

_ASSERTIONS = ("(?=", "(?!", "(?<=", "(?<!")


def conjunction(pattern: str) -> tuple[str, ...]:
    """Patterns that all match exactly where ``pattern`` does, without its leading look-ahead.

    ``^(?=A)B`` is ``^(?:A)`` and ``^B``. Empty for a pattern of another form.
    """
    if not pattern.startswith("^(?=") or _alternates(pattern):
        return ()
    parts, at = [], 1
    while pattern.startswith("(?=", at):
        end = _group_end(pattern, at)
        if end < 0 or pattern[end : end + 1] in ("*", "+", "?", "{"):
            return ()
        parts.append(f"^(?:{pattern[at + 3 : end - 1]})")
        at = end
    return (*parts, f"^{pattern[at:]}")


def _alternates(pattern: str) -> bool:
    """Whether there is a ``|`` outside of any group, so that ``^`` binds one side only."""
    at = 0
    while at < len(pattern):
        if pattern[at] == "|":
            return True
        if pattern[at] == "(":
            end = _group_end(pattern, at)
            at = end if end > 0 else len(pattern)
        elif pattern[at] == "[":
            at = _class_end(pattern, at)
        else:
            at += 2 if pattern[at] == "\\" else 1
    return False


def without_assertions(pattern: str) -> str:
    """``pattern`` without its look-around and word boundaries: it matches all it did, and more.

    The pattern itself where it has none, or where that can't be told.
    """
    kept: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith(("\\b", "\\B"), at):
            end = at + 2
        elif pattern.startswith(_ASSERTIONS, at):
            end = _group_end(pattern, at)
        else:
            end = _class_end(pattern, at) if pattern[at] == "[" else at + 1 + (pattern[at] == "\\")
            kept.append(pattern[at:end])
            at = end
            continue
        if end < 0 or pattern[end : end + 1] in ("*", "+", "?", "{"):
            return pattern
        at = end
    return "".join(kept)


def _group_end(pattern: str, at: int) -> int:
    """The place behind the group that opens at ``at``; -1 if it isn't closed."""
    depth = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 2
            continue
        if char == "[":
            at = _class_end(pattern, at)
            continue
        depth += (char == "(") - (char == ")")
        at += 1
        if not depth:
            return at
    return -1


def _class_end(pattern: str, at: int) -> int:
    """The place behind the character class that opens at ``at``."""
    at += 2 if pattern.startswith("[^", at) else 1
    at += pattern.startswith("]", at)
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1

"""A schema as the one text and the one hash that all equal schemas have."""

from __future__ import annotations

import hashlib
import json

from anyclaude.types import JsonObject


def canonical_text(schema: JsonObject) -> str:
    """The schema as JSON with sorted keys: equal schemas have equal texts."""
    return json.dumps(schema, sort_keys=True, separators=(",", ":"))


def hash_of(text: str) -> str:
    """A hash of a canonical text, 16 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]

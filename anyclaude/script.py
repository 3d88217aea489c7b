"""Scripts: what a scripted model answers, and at what pace, out of a TOML file.

A script is a list of answers. The first one whose ``when`` stands in the prompt, and whose
``turn`` is the number of answers in it so far, is what the model says.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from anyclaude.errors import UsageError

PREFIX = "scripted:"
"""Before the script's file in a model's name, as in ``scripted:./session.toml``."""

OTHERWISE = "The script has nothing to say to that."
DEMO = "demo"
DEMO_FILE = Path(__file__).with_name("demo.toml")

_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["answers"],
    "properties": {
        "prefill": {"type": "number", "minimum": 0},
        "decode": {"type": "number", "minimum": 0},
        "otherwise": {"type": "string"},
        "answers": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["says"],
                "properties": {
                    "when": {"type": "string"},
                    "turn": {"type": "integer", "minimum": 0},
                    "says": {"type": "string"},
                },
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class Answer:
    """``when`` "" stands in every prompt, ``turn`` ``None`` is any."""

    says: str
    when: str = ""
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """``prefill`` and ``decode`` are tokens a second, 0 as fast as can be; ``digest`` tells one
    script from another."""

    answers: tuple[Answer, ...]
    prefill: float = 0.0
    decode: float = 0.0
    otherwise: str = OTHERWISE
    digest: str = ""

    def answer(self, prompt: str, turn: int) -> str:
        """What is said to ``prompt``, which has ``turn`` answers in it already."""
        for answer in self.answers:
            if answer.when in prompt and answer.turn in (None, turn):
                return answer.says
        return self.otherwise


def script_path(name: str) -> Path:
    """The file of a model called ``name``, which begins with :data:`PREFIX`."""
    rest = name.removeprefix(PREFIX)
    return DEMO_FILE if rest == DEMO else Path(rest).expanduser()


def read_script(path: Path) -> Script:
    """Raises :class:`UsageError` naming the file and what is wrong in it."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    try:
        data = path.read_bytes()
        table = tomllib.loads(data.decode())
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the script {path}: {error}") from error
    fault = best_match(Draft202012Validator(_SCHEMA).iter_errors(table))
    if fault is not None:
        where = ".".join(str(part) for part in fault.absolute_path) or "the file"
        raise UsageError(f"the script {path} can't be used: {where}: {fault.message}")
    return Script(
        tuple(Answer(**answer) for answer in table["answers"]),
        float(table.get("prefill", 0)),
        float(table.get("decode", 0)),
        table.get("otherwise", OTHERWISE),
        hashlib.sha256(data).hexdigest(),
    )

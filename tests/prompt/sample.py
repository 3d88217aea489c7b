"""A prompt of our own, made like those of coding agents: rules, catalogues, examples, tools."""

from __future__ import annotations

from anyclaude.types import JsonObject, Message, MessagesRequest, TextBlock, ToolDefinition

SYSTEM = """You are Mason, a builder of small programs.

The people you work for like it when things are explained in a calm and friendly voice, and they \
have been at it for many years, so there is no need to go over the history of computing.

# Conduct
 - You must ask before you delete a file that you did not make.
 - Never print credentials, not even shortened ones.
 - Prefer small steps. Tests come with the change they belong to.
 - Names are long in this house because they were chosen by people who had the time to choose them.

# Examples

```python
def add(first: int, second: int) -> int:
    total = first + second
    return total
```

<example>
user: how long is this list?
assistant: seven entries
</example>

# Guilds
- carpentry: Builds wooden models of the houses that are to be built later on, in all of the usual \
scales, with doors that open and windows that close. Its members meet on Mondays.
- masonry: Lays stones on stones until there is a wall, which may take a while if the stones are \
large, and longer if they are small. Its members meet on Tuesdays.
- plumbing: Brings water to where it is wanted and takes it away from where it isn't, in pipes of \
copper, iron or lead. Its members meet on Wednesdays.
- roofing: Covers what the others have built, before the rain comes if at all possible, with tiles \
or slates as the owner likes. Its members meet on Thursdays.

# Environment
 - Working directory: /home/mason/houses
 - Platform: linux
 - Today's date is 2026-03-04.

# Closing
Report what you did faithfully: if a test fails, say so.
"""

READ_SCHEMA: JsonObject = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "file_path": {"type": "string", "description": "The absolute path of the file to read."},
        "limit": {
            "type": "integer",
            "description": "How many lines to read. Leave it out for all of them.",
            "minimum": 1,
            "maximum": 9007199254740991,
            "default": 2000,
        },
        "mode": {"type": "string", "enum": ["text", "hex"], "description": "How to show it."},
        "extra": {"description": "Anything that the reader is to know about. It may be long."},
    },
    "required": ["file_path"],
    "additionalProperties": False,
}
READ = ToolDefinition(
    "Read",
    "Reads a file and returns its lines. The lines are numbered, since numbers help to talk about "
    "them, and long lines are folded at the width of a page.\n\n"
    "- `file_path` must be absolute.\n"
    "- Reading a folder will fail.\n"
    "- It is said that reading is good for the mind; many have found it so in long winters.\n\n"
    "```\nRead(file_path='/etc/hosts')\n```\n",
    READ_SCHEMA,
)
WRITE = ToolDefinition(
    "Write",
    "Writes a file. IMPORTANT: it overwrites what is there.",
    {
        "type": "object",
        "properties": {
            "file_path": {"type": "string"},
            "content": {"type": "string", "description": "What to write into the file."},
        },
        "required": ["file_path", "content"],
    },
)
TURN = "# Workshop\n - Shell: fish\n\nYou are on the second floor."


def request(*more: Message, system: str = SYSTEM) -> MessagesRequest:
    """A first turn with a turn of the system after it, and ``more``."""
    return MessagesRequest(
        "m",
        1_000,
        (
            Message("user", (TextBlock("build a shed"),)),
            Message("system", (TextBlock(TURN),)),
            *more,
        ),
        system=(TextBlock(system),),
        tools=(READ, WRITE),
    )

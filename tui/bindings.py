"""The keys of the main screen, the most wanted first: the footer shows as many as fit."""

from __future__ import annotations

from textual.binding import Binding, BindingType


def _key(key: str, action: str, name: str, help: str, id: str, *, display: str = "") -> Binding:
    """A key that the footer shows."""
    return Binding(key, action, name, key_display=display or None, tooltip=help, id=id)


def _quiet(key: str, action: str, name: str, help: str, id: str) -> Binding:
    """A key for the help page and the palette."""
    return Binding(key, action, name, show=False, tooltip=help, id=id)


MAIN: tuple[BindingType, ...] = (
    _key("slash", "filter", "Filter", "Filter the list", "view.filter", display="/"),
    _key(
        "n",
        "app.take_offer('server.elsewhere')",
        "Start so",
        "Start in the way that is offered after a failed start",
        "server.elsewhere",
    ),
    _key(
        "a",
        "app.take_offer('server.attach')",
        "Attach",
        "Attach to the anyclaude that runs already",
        "server.attach",
    ),
    _key(
        "R",
        "app.restart_engine",
        "Restart engine",
        "Start the engine again after it failed",
        "engine.restart",
    ),
    _key(
        "X",
        "app.cancel",
        "Cancel",
        "Cancel the selected request (asks once)",
        "request.cancel",
    ),
    _key("question_mark", "app.help", "Help", "All keys", "app.help", display="?"),
    _key(
        "ctrl+p",
        "app.palette",
        "Commands",
        "All commands, by a few letters",
        "app.palette",
        display="^p",
    ),
    _key("q", "app.ask_quit", "Quit", "Quit (asks if requests are running)", "app.quit"),
    _key("f", "follow", "Follow", "Follow new requests, or stop", "view.follow"),
    _key("m", "app.models", "Models", "Pick a model to load, or pull one", "engine.models"),
    _key("F", "app.flush", "Flush", "Flush one cache tier or all (asks once)", "cache.flush"),
    _key("y", "app.copy_menu", "Copy", "Copy: y again takes what is on show", "app.copy"),
    _key("s", "app.room('sql')", "SQL", "Ask the log in SQL", "room.sql"),
    _key(
        "h",
        "app.room('history')",
        "History",
        "Requests and sessions of earlier runs",
        "room.history",
    ),
    _key(
        "v",
        "app.room('vitals')",
        "Vitals",
        "Speeds, latencies, memory and load over time",
        "room.vitals",
    ),
    _key(
        "ctrl+o", "app.jump", "Jump", "Jump to a pane or tab by one key", "app.jump", display="^o"
    ),
    _key("z", "zoom", "Zoom", "The pane alone, and back", "view.zoom"),
    _key("space", "freeze", "Freeze", "Freeze the list; counters go on", "view.freeze"),
    _key("e", "errors_only", "Errors", "Only requests with errors", "view.errors"),
    _key("p", "app.pause", "Pause", "Keep new requests waiting, or let them in", "engine.pause"),
    _key(
        "T",
        "app.room('tree')",
        "Prefix tree",
        "The prefix tree: what is cached, and who shares it",
        "room.tree",
    ),
    _key(
        "b",
        "app.room('backends')",
        "Backends",
        "Who answers requests, and how well",
        "room.backends",
    ),
    _key(
        "W",
        "app.room('searches')",
        "Searches",
        "Web searches: what was asked, and what came of it",
        "room.searches",
    ),
    _key("r", "app.replay", "Replay", "Run the selected request again", "request.replay"),
    _key(
        "P",
        "app.pin",
        "Pin session",
        "Pin the selected request's session in memory, or unpin it",
        "session.pin",
    ),
    _key("w", "app.export", "Export", "Write requests to a file as JSON Lines", "app.export"),
    _key("o", "app.switches", "Switches", "Turn rules on and off", "engine.switches"),
    _key(
        "A",
        "app.reparse",
        "Parse again",
        "Read the selected request's tool calls with the present parser",
        "request.reparse",
    ),
    _key("t", "app.next_theme", "Theme", "Next theme", "app.theme"),
    _quiet(
        "left_square_bracket", "tab(-1)", "Tab left", "Inspector: tab to the left", "inspector.left"
    ),
    _quiet(
        "right_square_bracket",
        "tab(1)",
        "Tab right",
        "Inspector: tab to the right",
        "inspector.right",
    ),
    _quiet(
        "O",
        "app.shorten",
        "Shorten prompts",
        "Stop shortening system prompts and tools, or go on with it",
        "prompt.shorten",
    ),
    _quiet("1", "pane(1)", "Requests", "Pane 1: requests", "pane.requests"),
    _quiet("2", "pane(2)", "Cache tiers", "Pane 2: cache tiers", "pane.cache"),
    _quiet("3", "pane(3)", "Tool-call errors", "Pane 3: tool-call errors", "pane.errors"),
    _quiet("4", "pane(4)", "Events", "Pane 4: events", "pane.events"),
    _quiet("5", "pane(5)", "Inspector", "Pane 5: the inspector", "pane.inspector"),
    _quiet("tab", "app.focus_next", "Next pane", "Next pane", "pane.next"),
    _quiet("shift+tab", "app.focus_previous", "Previous pane", "Previous pane", "pane.previous"),
    _quiet("escape", "back", "Back", "One level back", "view.back"),
)

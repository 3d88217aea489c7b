"""The tree room: the prefix tree as it stands, who is on each edge, and what keeps it there."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from anyclaude.control import Control, PrefixTreePicture
from anyclaude.errors import AnyclaudeError
from anyclaude.types import Tier
from tui import format as f
from tui import tree_lines, trees
from tui.dialogs.confirm import Confirm
from tui.lines import Line, line
from tui.rooms.base import AskingRoom
from tui.state import Store
from tui.trees import Branch, Key
from tui.widgets.foot import Foot
from tui.widgets.page import Frame, Page
from tui.widgets.rows import Rows

_TIERS = {Tier.KV: "memory", Tier.KV_DISK: "disk"}


class TreeRoom(AskingRoom):
    """One line per edge above the facts of the one under the cursor."""

    DEFAULT_CSS = """
    TreeRoom #tree { height: 1fr; }
    TreeRoom #tree-heading { height: 1; color: $text-muted; }
    TreeRoom #tree-rows { height: 1fr; }
    TreeRoom #tree-note { height: 1fr; display: none; }
    TreeRoom.-note #tree-rows, TreeRoom.-note #tree-heading { display: none; }
    TreeRoom.-note #tree-note { display: block; }
    TreeRoom.-note #edge { display: none; }
    TreeRoom #edge { height: 9; }
    TreeRoom.-narrow.-tall #edge { height: 13; }
    TreeRoom.-narrow.-short #edge { height: 7; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("T", "leave", "Back", show=False, tooltip="Back", id="tree.leave"),
        Binding(
            "P",
            "pin",
            "Pin",
            tooltip="Keep the edge's newest session from eviction, or no longer",
            id="tree.pin",
        ),
        Binding(
            "F",
            "flush",
            "Flush",
            tooltip="Flush the tier that the edge lies in (asks once)",
            id="tree.flush",
        ),
    ]

    def __init__(
        self, control: Callable[[], Control | None], store: Store, now: Callable[[], float]
    ) -> None:
        super().__init__(control, store, now)
        self._picture: PrefixTreePicture | None = None
        self._branches: tuple[Branch, ...] = ()
        self._key: Key | None = None
        self._painted: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        with Vertical(id="tree", classes="pane") as box:
            self._frame = Frame(box)
            yield Static("", id="tree-heading", markup=False)
            yield Rows(id="tree-rows")
            yield Page(id="tree-note")
        edge = Page(id="edge")
        edge.add_class("pane")
        edge.border_title = "Edge"
        yield edge
        yield Foot()

    def on_mount(self) -> None:
        self._rows = self.query_one(Rows)
        self._rows.focus()
        self.sync()

    # ------------------------------------------------------------------------------- painting

    async def fetch(self, control: Control) -> None:
        picture = await control.prefix_tree()
        if picture != self._picture:
            self._picture = picture
            self._branches = trees.branches(picture)

    @property
    def selected(self) -> Branch | None:
        """The edge under the cursor."""
        if not self._branches or not self.is_mounted:
            return None
        return self._branches[trees.find(self._branches, self._key, self._rows.cursor or 0)]

    def paint(self) -> None:
        """Draws anew when the picture, the width, or what the times say is another."""
        if not self.is_mounted:
            return
        width = self._rows.room
        key = (id(self._picture), self.problem, self.size, width, int(self._now()), self._key)
        if key == self._painted:
            return
        self._painted = key
        note = self._note()
        if self.has_class("-note") != bool(note):
            self.set_class(bool(note), "-note")
            self.refresh_bindings()
        if note:
            self.query_one("#tree-note", Page).show(note, anew=False)
        else:
            self._paint_tree(width)
        self._paint_frame()

    def _note(self) -> list[Line]:
        if self.problem:
            return tree_lines.problem_lines(self.problem)
        if self._picture is None:
            return [line((" Reading the tree …", "muted"))]
        return [] if self._branches else tree_lines.empty_lines()

    def _paint_tree(self, width: int) -> None:
        found, now = self._branches, self._now()
        at = trees.find(found, self._key, self._rows.cursor or 0)
        self._key = found[at].key
        around = tree_lines.frame(found, now, width)
        self.query_one("#tree-heading", Static).update(Content(tree_lines.heading(width).plain))
        self._rows.show(len(found), lambda index: tree_lines.row(found[index], around), at)
        edge = self.query_one("#edge", Page)
        edge.show(tree_lines.facts(found[at], now), anew=False)
        edge.border_subtitle = Content(tree_lines.legend(self.size.width - 6))

    def _paint_frame(self) -> None:
        picture = self._picture
        if picture is None or self.problem or not picture.nodes:
            self._frame.show("Prefix tree")
            return
        sums = trees.sums(picture)
        words = [f"{sums.edges} edges", f"{f.count(sums.tokens)} tokens", f.size(sums.bytes)]
        if picture.left_out:
            words.append(f"{picture.left_out} left out")
        title = f"Prefix tree  {f.short_model(picture.model)}" if picture.model else "Prefix tree"
        self._frame.show(title, "  ".join(words))

    # --------------------------------------------------------------------------------- by hand

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Pin and flush are offered where there is an edge to do it to."""
        if action in ("pin", "flush"):
            return self.selected is not None and not self.has_class("-note")
        return super().check_action(action, parameters)

    def on_rows_moved(self) -> None:
        self._key = self._branches[self._rows.cursor or 0].key
        self.query_one("#edge", Page).scroll_to(y=0, animate=False)
        self.paint()

    def on_rows_sized(self) -> None:
        self.paint()

    def on_rows_opened(self) -> None:
        """The newest request of the edge's newest session that the list still has."""
        branch = self.selected
        if branch is None:
            return
        sessions = branch.node.sessions
        for row in reversed(self._store.rows.values()):
            if row.session_id in sessions:
                self.post_message(self.Open(row.id))
                self.dismiss(None)
                return
        self._say("No request of this edge's sessions is in the list.")

    def action_pin(self) -> None:
        branch, control = self.selected, self._control()
        if branch is None or control is None:
            return
        if not branch.node.sessions:
            self._say("No session of this run lies on this edge, so there is none to pin.")
            return
        self.run_worker(self._pin(control, branch), group="steer", exit_on_error=False)

    async def _pin(self, control: Control, branch: Branch) -> None:
        assert self._picture is not None, "a branch is of a picture"
        sessions = branch.node.sessions
        held = self._store.pinned | trees.pinned_sessions(self._picture.nodes)
        session = next((name for name in sessions if name in held), sessions[0])
        pinned = session not in held
        try:
            await control.pin(session, pinned)
        except AnyclaudeError as error:
            self._say(error.message, "error")
            return
        self._store.pin(session, pinned)
        word = "is pinned: its prompts stay in memory" if pinned else "is no longer pinned"
        self._say(f"Session {tree_lines.short_session(session)} {word}")
        self.action_ask()

    def action_flush(self) -> None:
        branch, control = self.selected, self._control()
        if branch is None or control is None:
            return
        tier = Tier.KV if branch.node.bytes else Tier.KV_DISK
        vitals = self._store.vitals
        stats = next((t for t in vitals.tiers if t.tier == tier), None) if vitals else None
        lines = [
            line(f" {tier:<14} {stats.entries:>6} entries  {f.size(stats.bytes):>8}")
            if stats is not None
            else line(f" {tier}")
        ]
        lines += [Line(), line((_consequence(tier), "muted"), hang=1)]

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_worker(self._flush(control, tier), group="steer", exit_on_error=False)

        title = f"Flush what lies in {_TIERS[tier]}?"
        self.app.push_screen(Confirm(title, lines, again="F"), answered)

    async def _flush(self, control: Control, tier: Tier) -> None:
        try:
            freed = await control.flush(tier)
        except AnyclaudeError as error:
            self._say(error.message, "error")
            return
        parts = [f"{item.tier}: {item.entries} entries, {f.size(item.bytes)}" for item in freed]
        self._say("Freed " + ("; ".join(parts) or "nothing"))
        self.action_ask()

    def _say(self, message: str, severity: str = "information") -> None:
        self.notify(
            f.clean(message),
            severity="error" if severity == "error" else "information",
            markup=False,
        )


def _consequence(tier: Tier) -> str:
    if tier is Tier.KV:
        return " What is not on disk too is read anew by the next request of each session."
    return " What is not in memory too is read anew by the next request of each session."

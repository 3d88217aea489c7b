"""Taking things out of the console: to the clipboard, or to a file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from anyclaude.control import Control
from anyclaude.errors import AnyclaudeError, UsageError
from anyclaude.records import RequestDetail
from tui import format as f
from tui.copying import Copyable, copyables
from tui.desk import Desk
from tui.request_row import RequestRow
from tui.taking import CopyText
from tui.widgets.side import ErrorsPane

if TYPE_CHECKING:
    from tui.dialogs.copy_menu import CopyMenu
    from tui.dialogs.export import Export


class Taking(Desk):
    """The actions that copy and export."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is something to export once there was a request."""
        if action == "export":
            return bool(self.view.rows)
        return super().check_action(action, parameters)

    # ----------------------------------------------------------------------------------- copy

    def action_copy_menu(self) -> None:
        """The menu; before the first request there is but one thing to copy."""
        from tui.dialogs.copy_menu import CopyMenu

        row = self.view.selected
        items = self._copyables()
        if row is None:
            self._copy_item(next(item for item in items if item.id == "paste"))
            return
        menu = CopyMenu(items, f.short_id(row.id))

        def answered(chosen: str | None) -> None:
            if chosen is not None:
                self._copy_item(menu.text_of(chosen))

        self.push_screen(menu, answered)
        control = self._control()
        if control is not None and self._detail(row) is None:
            self.run_worker(self._look_up(menu, control, row), group="copy-menu")

    async def _look_up(self, menu: CopyMenu, control: Control, row: RequestRow) -> None:
        try:
            detail = await control.detail(row.id)
        except AnyclaudeError:
            detail = None
        if menu.is_current:
            menu.show_items(self._copyables_of(row, detail))

    def action_copy(self, id: str) -> None:
        """Copies one of the menu's things without the menu."""
        item = next((item for item in self._copyables() if item.id == id), None)
        if item is not None:
            self._copy_item(item)

    def _copyables(self) -> tuple[Copyable, ...]:
        """What there is of the selected request, as far as it is known without asking."""
        row = self.view.selected
        detail = self._detail(row)
        return self._copyables_of(row, detail, looking=detail is None)

    def _copyables_of(
        self, row: RequestRow | None, detail: RequestDetail | None, *, looking: bool = False
    ) -> tuple[Copyable, ...]:
        source = self._source
        address = source.address if source is not None else ""
        lines = source.env_lines if source is not None else ()
        return copyables(row, detail, address, lines, self._shown(), looking=looking)

    def _detail(self, row: RequestRow | None) -> RequestDetail | None:
        detail = self.main.inspector.detail
        return detail if row is not None and detail is not None and detail.id == row.id else None

    def _shown(self) -> tuple[str, str]:
        error = self.main.query_one(ErrorsPane).selected
        if error is not None:
            return error.call.raw, "the call as written"
        return self.main.inspector.copied()

    def on_copy_text(self, event: CopyText) -> None:
        """A room has something for the clipboard."""
        self.copy_to_clipboard(event.text)
        self.run_worker(self._around.copy(event.text), group="copy", exit_on_error=False)
        self._say(f"Copied: {event.what}")

    def _copy_item(self, item: Copyable) -> None:
        if not item.text:
            self._say("There is nothing to copy here.", "warning")
            return
        self.copy_to_clipboard(item.text)
        self.run_worker(self._around.copy(item.text), group="copy", exit_on_error=False)
        name = self._shown()[1] if item.id == "shown" else item.name
        self._say(f"Copied: {name[:1].lower()}{name[1:]}")

    # --------------------------------------------------------------------------------- export

    def action_export(self) -> None:
        """Asks for a file and writes the filtered list, or the selected request, to it."""
        from tui.dialogs.export import Export
        from tui.exporting import free_path

        row, listed = self.view.selected, len(self.view.rows)
        if row is None:
            return
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(self._around.now()))
        path = free_path(Path.cwd() / f"anyclaude-{stamp}.jsonl")
        noun = "request" if listed == 1 else "requests"
        filtered = " that the filter leaves" if self.view.narrowed else " of the list"
        one = f"{f.short_id(row.id)} alone, with its prompt and its answer"
        self.push_screen(Export(str(path), f"{listed} {noun}{filtered}", one))

    def on_export_write(self, event: Export.Write) -> None:
        control, row = self._control(), self.view.selected
        path = Path(event.path).expanduser()
        if event.scope == "one" and row is not None:
            self._steer(self._export_one(path, row, control))
        else:
            self._steer(self._export(path, tuple(r.still() for r in self.view.rows)))

    async def _export_one(self, path: Path, row: RequestRow, control: Control | None) -> None:
        from tui.exporting import row_json

        detail = None
        if control is not None:
            try:
                detail = await control.detail(row.id)
            except AnyclaudeError:
                detail = None  # Not kept any more: its row is what there is.
        await self._write_file(path, [row_json(row, detail)])

    async def _export(self, path: Path, rows: tuple[RequestRow, ...]) -> None:
        from tui.exporting import rows_json

        await self._write_file(path, rows_json(rows))

    async def _write_file(self, path: Path, lines: Iterable[str]) -> None:
        from tui.dialogs.export import Export
        from tui.exporting import free_path, write_new

        dialog = self.screen if isinstance(self.screen, Export) else None
        try:
            count = await asyncio.to_thread(write_new, path, lines)
        except UsageError:
            if dialog is not None:
                dialog.suggest(str(await asyncio.to_thread(free_path, path)))
            raise
        if dialog is not None and dialog.is_current:
            dialog.dismiss(None)
        self._say(f"Wrote {count} {'request' if count == 1 else 'requests'} to {path}")

"""How the console looks: which theme is on, and the user's own ones as they are edited."""

from __future__ import annotations

import asyncio

from textual.app import App

from tui import format as f
from tui.desk import Desk
from tui.themes import Themes, reload

DEFAULT_THEME = "anyclaude-dark"
LOOK_S = 1.0
_NOTICE_S = 12.0


class Looks(Desk):
    """The themes of the console; files are looked at once a second, beside the loop."""

    def _dress(self, themes: Themes) -> None:
        """Takes the themes and puts on the configured one, before anything is drawn."""
        self._themes = themes
        self._looking = False
        self._wear(themes)
        name = self._ui.theme
        self.set_reactive(App.theme, name if name in self.theme_names else DEFAULT_THEME)
        self.stylesheet.set_variables(self.get_css_variables())

    def _say_of_themes(self) -> None:
        """What a person should know of their themes, when the screen is up."""
        if self.current_theme.ansi or not self.current_theme.dark:
            # Textual took its own dark theme for granted when the app was made.
            self.mutate_reactive(App.theme)
        if self._themes.notice:
            self._notice(self._themes.notice)
        if self.theme != self._ui.theme:
            known = ", ".join(self.theme_names)
            self._notice(f"There is no theme {self._ui.theme}; using {self.theme} of {known}")

    def _notice(self, text: str) -> None:
        self.notify(f.clean(text), severity="warning", markup=False, timeout=_NOTICE_S)

    def look_at_themes(self) -> None:
        """Reads the theme files again if one has changed; called once a second."""
        if not self._looking:
            self._looking = True
            self.run_worker(self._look(), group="themes")

    async def _look(self) -> None:
        before = self._themes
        try:
            found = await asyncio.to_thread(reload, before)
        finally:
            self._looking = False
        if found is None:
            return
        self._themes = found
        self._wear(found, before)
        if found.notice and found.problems != before.problems:
            self._notice(found.notice)
        elif before.problems and not found.problems:
            self._say("The themes are whole again.")

    def _wear(self, themes: Themes, before: Themes | None = None) -> None:
        """Registers the themes, and repaints when the one that is on became another."""
        old = self.current_theme
        for theme in before.themes if before is not None else ():
            # The one that is on stays until another is put on, even if its file is gone.
            if theme.name != self.theme:
                self.unregister_theme(theme.name)
        for theme in themes.themes:
            self.register_theme(theme)
        self.theme_names = [theme.name for theme in themes.themes]
        if before is not None and self.current_theme != old:
            self.mutate_reactive(App.theme)

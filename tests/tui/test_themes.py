"""Theme files: what is accepted, what is refused, and that edited ones are read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from anyclaude.config.settings import UiSettings
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import session
from tui import themes as module
from tui.themes import load_themes, parse_theme, reload, theme_folder, user_theme_folder

SHIPPED = (
    "anyclaude-ansi-dark",
    "anyclaude-ansi-light",
    "anyclaude-colorblind",
    "anyclaude-contrast",
    "anyclaude-dark",
    "anyclaude-light",
    "harbour",
    "plum",
    "sage",
)
MINE = 'name = "mine"\nprimary = "#ffffff"\nbackground = "#102030"\n'


def test_the_shipped_themes_load() -> None:
    found = load_themes([theme_folder()])
    assert tuple(theme.name for theme in found.themes) == SHIPPED
    assert found.notice == ""
    assert {theme.name for theme in found.themes if not theme.dark} == {
        "anyclaude-ansi-light",
        "anyclaude-light",
        "sage",
    }


def test_each_file_is_called_as_its_theme() -> None:
    for path, theme in load_themes([theme_folder()]).files.items():
        assert path.stem == theme.name


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('name = "x"', "primary is missing"),
        ('primary = "#fff"', "name is missing"),
        ('name = "x"\nprimary = "blu"', "primary = 'blu' is not a colour"),
        ('name = "x"\nprimary = "#fff"\ntint = "#fff"', "tint is not a key of a theme"),
        ('name = "x"\nprimary = "#fff"\nacent = "#fff"', "acent is not .*; is it accent"),
        ('name = "x"\nprimary = "#fff"\ndark = "yes"', "dark must be true or false"),
        ('name = "x"\nprimary = 7', "primary must be a string"),
        ('name = "my own"\nprimary = "#fff"', "name = 'my own' must be letters"),
        ('name = "x"\nprimary = "#fff"\ntext_alpha = "a"', "text_alpha must be a number"),
        ('name = "x"\nprimary = "#fff"\nvariables = ["a"]', "variables must be a table"),
        (
            'name = "x"\nprimary = "#fff"\n[variables]\nbordr = "#fff"',
            r"variables\.bordr is not a variable; is it border",
        ),
        (
            'name = "x"\nprimary = "#fff"\n[variables]\nborder = "blu 30%"',
            r"variables\.border = 'blu 30%' is not a colour",
        ),
        (
            'name = "x"\nprimary = "#fff"\n[variables]\nlink-style = "fat"',
            r"variables\.link-style = 'fat' is not a style",
        ),
        ("name =", "Invalid value .at end of document."),
    ],
)
def test_a_broken_theme_says_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_theme(text)


def test_variables_of_either_kind() -> None:
    theme = parse_theme(
        'name = "x"\nprimary = "#fff"\nansi = true\n[variables]\ntext-muted = "auto 60%"\n'
        'input-selection-background = "#7d9fc4 30%"\nlink-style = "bold not underline"\n'
        'ansi-background = "ansi_black"\n'
    )
    assert theme.variables["text-muted"] == "auto 60%"


def test_a_broken_file_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "themes"
    folder.mkdir()
    (folder / "bad.toml").write_text("name = 3\nprimary = '#fff'")
    (folder / "good.toml").write_text('name = "good"\nprimary = "#ffffff"')
    (folder / "latin.toml").write_bytes(b'name = "\xff"')
    found = load_themes([folder, tmp_path / "absent"])
    assert [theme.name for theme in found.themes] == ["good"]
    bad, latin, advice = found.notice.splitlines()
    assert bad == "~/themes/bad.toml: name must be a string"
    assert latin.startswith("~/themes/latin.toml: 'utf-8' codec")
    assert "Save a mended file" in advice


def test_a_theme_of_ones_own_replaces_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "plum.toml").write_text(MINE.replace("mine", "plum"))
    found = load_themes([theme_folder(), tmp_path])
    assert tuple(theme.name for theme in found.themes) == SHIPPED
    assert next(t for t in found.themes if t.name == "plum").background == "#102030"


def test_ones_own_folder_is_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "anyclaude.config.files.user_config_path", lambda: tmp_path / "anyclaude.toml"
    )
    assert user_theme_folder() == tmp_path / "themes"


def test_files_are_read_again_only_when_one_changed(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(MINE)
    found = load_themes([tmp_path])
    assert reload(found) is None
    mine.write_text(MINE + 'accent = "#405060"\n')
    changed = reload(found)
    assert changed is not None and changed.themes[0].accent == "#405060"
    mine.unlink()
    gone = reload(changed)
    assert gone is not None and gone.themes == ()


def test_a_file_that_breaks_keeps_its_theme(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(MINE)
    found = load_themes([tmp_path])
    mine.write_text("name = ")
    broken = reload(found)
    assert broken is not None and broken.themes == found.themes and "mine.toml" in broken.notice
    mine.write_text("name = 7 # and still broken")
    again = reload(broken)
    assert again is not None and again.themes == found.themes


def test_a_file_that_goes_between_two_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").symlink_to(tmp_path / "nowhere")
    assert module.stamp_of([tmp_path]) == ()


# ------------------------------------------------------------------------------ in the console


def _ground(stage: Stage) -> str:
    return stage.app.main.styles.background.hex.lower()


async def _look(stage: Stage) -> None:
    stage.app.look_at_themes()
    await stage.settle()


async def test_the_configured_theme_is_on_from_the_start(console: Opener) -> None:
    async with console(ui=UiSettings(theme="sage")) as stage:
        assert stage.app.theme == "sage"
        assert _ground(stage) == "#f5f7f2"
        assert not stage.app._notifications


async def test_a_theme_that_is_not_there(console: Opener) -> None:
    async with console(ui=UiSettings(theme="nope")) as stage:
        assert stage.app.theme == "anyclaude-dark"
        (notice,) = stage.app._notifications
        assert notice.message.startswith("There is no theme nope; using anyclaude-dark")
        assert "harbour" in notice.message


async def test_t_goes_through_all_of_them(console: Opener) -> None:
    async with console() as stage:
        seen = {stage.app.theme}
        for _ in SHIPPED:
            await stage.press("t")
            seen.add(stage.app.theme)
        assert seen == set(SHIPPED) and stage.app.theme == "anyclaude-dark"


async def test_an_edited_theme_is_put_on_at_once(console: Opener, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(MINE)
    found = load_themes([theme_folder(), tmp_path])
    async with console(ui=UiSettings(theme="mine"), themes=found) as stage:
        await stage.send(*session())
        assert _ground(stage) == "#102030"
        await _look(stage)
        mine.write_text(MINE.replace("#102030", "#203040") + "# saved again\n")
        await _look(stage)
        assert _ground(stage) == "#203040"
        assert not stage.app._notifications


async def test_a_new_file_is_a_new_theme(console: Opener, tmp_path: Path) -> None:
    found = load_themes([theme_folder(), tmp_path])
    async with console(themes=found) as stage:
        (tmp_path / "mine.toml").write_text(MINE)
        await _look(stage)
        assert "mine" in stage.app.theme_names
        stage.app.action_theme("mine")
        await stage.settle()
        assert _ground(stage) == "#102030"


async def test_a_broken_file_is_one_notice_and_the_old_theme_stays(
    console: Opener, tmp_path: Path
) -> None:
    for name in ("mine", "yours"):
        (tmp_path / f"{name}.toml").write_text(MINE.replace("mine", name))
    found = load_themes([theme_folder(), tmp_path])
    async with console(ui=UiSettings(theme="mine"), themes=found, toasts=True) as stage:
        (tmp_path / "mine.toml").write_text(MINE + 'accent = "[bold]blu"')
        (tmp_path / "yours.toml").write_text("name = 'yours'")
        await _look(stage)
        (notice,) = stage.app._notifications
        assert "mine.toml: accent = '[bold]blu' is not a colour such as #7aa2f7" in notice.message
        assert "yours.toml: primary is missing" in notice.message
        assert _ground(stage) == "#102030"
        assert "'[bold]blu'" in " ".join(stage.text().split())
        await _look(stage)
        assert len(stage.app._notifications) == 1
        (tmp_path / "mine.toml").write_text(MINE)
        (tmp_path / "yours.toml").write_text(MINE.replace("mine", "yours"))
        await _look(stage)
        assert "The themes are whole again." in [n.message for n in stage.app._notifications]


async def test_a_theme_whose_file_is_gone_stays_until_another_is_put_on(
    console: Opener, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(MINE)
    found = load_themes([theme_folder(), tmp_path])
    async with console(ui=UiSettings(theme="mine"), themes=found) as stage:
        mine.unlink()
        await _look(stage)
        assert _ground(stage) == "#102030" and "mine" not in stage.app.theme_names
        await stage.press("t")
        assert stage.app.theme == SHIPPED[0]


async def test_a_broken_file_at_the_start_is_said_once(console: Opener, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("name = 7")
    found = load_themes([theme_folder(), tmp_path])
    async with console(themes=found) as stage:
        (notice,) = stage.app._notifications
        assert "mine.toml: primary is missing" in notice.message


def test_themes_are_values() -> None:
    found = load_themes([theme_folder()])
    assert replace(found, problems={Path("/x/y.toml"): "no"}).notice.startswith("/x/y.toml: no\n")

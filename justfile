# Everyday commands; `just` alone runs what CI runs.
default: check

check: lint types arch test

fmt:
    uv run ruff format .
    uv run ruff check --fix .

lint:
    uv run ruff check .
    uv run ruff format --check .

types:
    uv run mypy

arch:
    uv run lint-imports

test *ARGS:
    uv run pytest {{ARGS}}

# The tests that take minutes: the real client on the embedded model.
slow:
    uv run pytest -m slow -n 0

# Accept the console's new snapshots after looking at them.
snap:
    uv run pytest tests/tui --snapshot-update

# Take the docs' pictures of the console anew, from the demonstration.
screenshots:
    uv run python -m tui.screenshots docs/pictures

# Write the generated pages anew.
docs:
    uv run python -m anyclaude.config.docs > docs/configuration.md
    uv run python -m anyclaude.logs.docs > docs/log-schema.md
    uv run python -m tui.docs > docs/cli.md
    uv run python -m tui.keys > docs/keys.md

run *ARGS:
    uv run anyclaude-tui {{ARGS}}

# The console over a scripted model and client; needs no model of your own.
demo:
    uv run anyclaude-tui --demo

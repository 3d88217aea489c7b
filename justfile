# Everyday commands; `just` alone runs what CI runs.
default: check

peers_folder := env("ANYCLAUDE_PEERS", cache_directory() / "anyclaude-peers")

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

# Install the servers that tests/client/test_peers.py runs, each with an environment of its own.
peers:
    uv venv --allow-existing "{{peers_folder}}/vllm"
    uv pip install --python "{{peers_folder}}/vllm" vllm-mlx
    uv venv --allow-existing "{{peers_folder}}/litellm"
    uv pip install --python "{{peers_folder}}/litellm" 'litellm[proxy]'

# Half an hour of fifty clients and failing backends; the server must not grow.
soak *ARGS:
    uv run python -m tests.soak {{ARGS}}

# How long a repeated request takes, by the cache that has it.
tiers:
    uv run python -m tests.caches.figures

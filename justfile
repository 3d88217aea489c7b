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

# The tests that take minutes: the real client on the embedded model.
slow:
    uv run pytest -m slow -n 0

# Accept the console's new snapshots after looking at them.
snap:
    uv run pytest tests/tui --snapshot-update

# The picture tests alone, so many times, each in processes of its own.
pictures TIMES="20":
    for run in $(seq {{TIMES}}); do \
        echo "run $run of {{TIMES}}"; \
        uv run --python 3.11 pytest tests/tui -m picture -n 2 || exit 1; \
    done

# The console's other tests, on every Python that is installed here.
pythons:
    for version in 3.11 3.12 3.13 3.14 3.15; do \
        uv python find --no-python-downloads $version >/dev/null 2>&1 || continue; \
        echo "Python $version"; \
        uv run --isolated --no-python-downloads --python $version \
            pytest tests/tui -m "not picture" || exit 1; \
    done

# Take the docs' pictures anew: of the demonstration, and of a tour with the real Claude Code.
screenshots:
    uv run python -m tui.screenshots docs/pictures
    uv run python -m tests.client.tour docs/pictures

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

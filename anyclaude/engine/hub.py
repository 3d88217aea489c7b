"""The Hugging Face cache and downloads into it, with errors in our words."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyclaude.engine import model_config
from anyclaude.errors import ApiError, InvalidRequest, NotFound, PermissionDenied, Unavailable

if TYPE_CHECKING:
    from huggingface_hub import CachedRevisionInfo

Progress = Callable[[float, str], None]
Counted = Callable[[int, int], None]
"""Told the bytes that have arrived, and those that there are, before each progress."""

# What mlx-lm reads; never the pickles, GGUF files and pictures that repositories also hold.
_WANTED = ("*.json", "model*.safetensors", "tokenizer.model", "*.tiktoken", "*.txt", "*.jsonl",
           "*.jinja")  # fmt: skip


class Cancelled(Exception):
    """Raised by who hears of the progress, it ends a download."""


def cached_models(cache: Path | None) -> Iterator[tuple[str, Path]]:
    """Name and folder of every model in the cache that has a config and safetensors."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir(cache).repos
    except (CacheNotFound, OSError, ValueError):
        return
    for repo in repos:
        if repo.repo_type != "model":
            continue
        for revision in sorted(repo.revisions, key=_newest_first):
            path = revision.snapshot_path
            if (path / "config.json").is_file() and model_config.weight_files(path):
                yield repo.repo_id, path
                break


def _newest_first(revision: CachedRevisionInfo) -> tuple[bool, float]:
    return ("main" not in revision.refs, -revision.last_modified)


def pull(
    name: str,
    cache: Path | None,
    progress: Progress,
    *,
    endpoint: str | None,
    counted: Counted = lambda done, total: None,
) -> Path:
    """Downloads the files that mlx-lm needs and returns the snapshot's folder.

    Raises :class:`Cancelled` if ``progress`` does.
    """
    from huggingface_hub import HfApi, snapshot_download

    progress(0.0, f"asking Hugging Face for {name}")
    try:
        info = HfApi(endpoint=endpoint).model_info(name, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        wanted = {file: size for file, size in sizes.items() if _is_wanted(file)}
        if "config.json" not in wanted or not any(f.endswith(".safetensors") for f in wanted):
            raise InvalidRequest(
                f"{name} has no config.json with model*.safetensors: pick a model in MLX or "
                "safetensors form, such as one of mlx-community"
            )
        total = sum(wanted.values())
        folder = snapshot_download(
            name,
            revision=info.sha,
            cache_dir=cache,
            endpoint=endpoint,
            allow_patterns=list(_WANTED),
            tqdm_class=_bar(total, progress, counted),
        )
    except (ApiError, Cancelled):
        raise
    except Exception as error:  # the library's, its HTTP client's and the system's own
        raise _in_our_words(name, error) from error
    counted(total, total)
    progress(1.0, f"{name} is here")
    return Path(folder)


def _is_wanted(file: str) -> bool:
    return any(fnmatch.fnmatch(file, pattern) for pattern in _WANTED)


def _bar(total: int, progress: Progress, counted: Counted) -> type[Any]:
    """A progress bar class for the library that draws nothing and tells us the bytes."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    done = 0.0

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0

        def display(self, *args: object, **kwargs: object) -> None:
            pass

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal done
            self.n += n or 0
            # One bar counts what comes in, one what is written: the same bytes.
            if self.unit == "B" and self.n > done:
                done = min(self.n, total)
                counted(int(done), total)
                text = f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
                progress(min(0.999, done / max(1, total)), text)
            return None

    return Bar


def _in_our_words(name: str, error: Exception) -> ApiError:
    from huggingface_hub import errors

    if isinstance(error, (errors.GatedRepoError, errors.DisabledRepoError)):
        return PermissionDenied(
            f"{name} asks for its terms to be accepted: do so at https://huggingface.co/{name}, "
            "then set HF_TOKEN to a token of that account"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return NotFound(f"Hugging Face has no model {name}, or not for you: set HF_TOKEN if so")
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        return Unavailable(
            f"Hugging Face answered {error.response.status_code} for {name}; pull it again later, "
            "what has arrived is kept"
        )
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return Unavailable(
            f"cannot store {name} in {error.filename}: {error.strerror}; mend that and pull it "
            "again, what has arrived is kept"
        )
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return Unavailable(
        f"cannot reach Hugging Face for {name} ({reason}); check the connection, or copy the "
        "model's folder into `models` of the data folder"
    )

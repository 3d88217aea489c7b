"""The models on this machine, by name: where each lies and what its files say about it.

Names are those of folders in the data folder's ``models`` and of repositories in the Hugging
Face cache; a path to a folder works too. Nothing here imports MLX.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, cast

import psutil

from anyclaude.control import ModelInfo
from anyclaude.engine import hub, model_config
from anyclaude.engine.smollm2 import EMBEDDED_NAME, EMBEDDED_WINDOW, find_gguf
from anyclaude.errors import InvalidRequest, NotFound, UsageError
from anyclaude.types import JsonValue

Progress = Callable[[float, str], None]

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REPO_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+")
_WEIGHTS_OVERHEAD = 1.2  # activations and caches beside the weights
_USABLE_MEMORY = 0.75  # what macOS lets the GPU wire by default, about


class Catalog:
    """Finds models. ``hf_cache`` and ``endpoint`` default to the Hugging Face library's own,
    ``memory_bytes`` (what a model may take) to three quarters of the machine's."""

    def __init__(
        self,
        data_dir: Path,
        hf_cache: Path | None = None,
        *,
        memory_bytes: int | None = None,
        endpoint: str | None = None,
    ) -> None:
        self._models = data_dir / "models"
        self._hf_cache = hf_cache
        self._endpoint = endpoint
        self._memory = memory_bytes or int(psutil.virtual_memory().total * _USABLE_MEMORY)

    def default_model(self) -> str:
        """What is served when nothing is configured: the embedded model."""
        return EMBEDDED_NAME

    def list(self) -> tuple[ModelInfo, ...]:
        """Every model found, by name; the embedded one first, converted yet or not."""
        found = dict(self._found())
        infos = [self._info(name, found[name]) for name in sorted(found) if name != EMBEDDED_NAME]
        embedded = self._embedded(found.get(EMBEDDED_NAME))
        return (embedded, *infos) if embedded is not None else tuple(infos)

    def resolve(self, name: str) -> Path:
        """The folder of a model given by name or by a path (absolute, or beginning ``./``).

        For the embedded model it may not exist yet. Raises :class:`InvalidRequest` for a name
        that can't be one, :class:`NotFound` saying what there is.
        """
        if name == EMBEDDED_NAME:
            folder = self._models / name
            if not _is_model(folder):
                find_gguf()
            return folder
        self._check(name)
        if name.startswith(("/", "./")):
            path = Path(name)
            if _is_model(path):
                return path.resolve()
            raise NotFound(f"{name} holds no model: config.json and model*.safetensors are needed")
        found = dict(self._found())
        if name in found:
            return found[name]
        raise NotFound(
            f"there is no model {name!r} here; there is: "
            f"{', '.join(info.name for info in self.list()) or 'none'}. "
            "`anyclaude models pull ORG/NAME` gets one from Hugging Face"
        )

    def pull(
        self, name: str, progress: Progress, counted: hub.Counted = lambda done, total: None
    ) -> Path:
        """Downloads ``org/name`` into the Hugging Face cache and returns its folder.

        Raises :class:`InvalidRequest`, :class:`NotFound`, :class:`PermissionDenied` or
        :class:`Unavailable`, each in one sentence, and :class:`hub.Cancelled` if ``progress``
        does.
        """
        self.check_pull(name)
        return hub.pull(name, self._hf_cache, progress, endpoint=self._endpoint, counted=counted)

    def check_pull(self, name: str) -> None:
        """Raises :class:`InvalidRequest` for what can't be a repository of Hugging Face."""
        self._check(name)
        if not _REPO_NAME.fullmatch(name):
            raise InvalidRequest(
                f"{name!r} is not a Hugging Face name: write ORG/NAME, such as "
                "mlx-community/Qwen3-4B-4bit",
                field="name",
            )

    @staticmethod
    def _check(name: str) -> None:
        if not name.strip() or not name.isprintable() or "\\" in name:
            raise InvalidRequest(f"{name!r} can't be the name of a model", field="name")
        if ".." in name.split("/"):
            raise InvalidRequest(f"{name!r} steps out of its folder with '..'", field="name")
        named = _FOLDER_NAME.fullmatch(name) or _REPO_NAME.fullmatch(name)
        if not named and not name.startswith(("/", "./")):
            raise InvalidRequest(
                f"{name!r} can't be the name of a model: give NAME, ORG/NAME, or a path that "
                "begins with / or ./",
                field="name",
            )

    def _found(self) -> Iterator[tuple[str, Path]]:
        yield from hub.cached_models(self._hf_cache)
        if self._models.is_dir():
            for path in self._models.iterdir():
                if _FOLDER_NAME.fullmatch(path.name) and _is_model(path):
                    yield path.name, path

    def _embedded(self, converted: Path | None) -> ModelInfo | None:
        if converted is not None:
            return self._info(EMBEDDED_NAME, converted)
        try:
            size = find_gguf().stat().st_size
        except UsageError:
            return None
        path = str(self._models / EMBEDDED_NAME)
        fits = self._fits(size)
        return ModelInfo(EMBEDDED_NAME, path, size, "4-bit", EMBEDDED_WINDOW, "fallback", fits)

    def _info(self, name: str, path: Path) -> ModelInfo:
        try:
            config = model_config.read_json(path / "config.json")
        except (OSError, ValueError):
            config = {}
        size = sum(file.stat().st_size for file in model_config.weight_files(path))
        return ModelInfo(
            name=name,
            path=str(path),
            size_bytes=size,
            quantization=model_config.quantization(config),
            context_limit=model_config.context_limit(config),
            tools=tools_of(path),
            fits=self._fits(size),
        )

    def _fits(self, size: int) -> bool:
        return size * _WEIGHTS_OVERHEAD < self._memory


def _is_model(path: Path) -> bool:
    return (path / "config.json").is_file() and bool(model_config.weight_files(path))


# ----------------------------------------------------------------------------------- tools


def tools_of(path: Path) -> Literal["template", "fallback", "unknown"]:
    """Who tells the model its tools, as far as its files show without loading it."""
    try:
        settings = model_config.read_json(path / "tokenizer_config.json")
        template = _chat_template(path, settings.get("chat_template"))
    except (OSError, ValueError):
        return "unknown"
    return "template" if "tools" in template else "fallback"


def _chat_template(path: Path, value: JsonValue) -> str:
    """The template's text; one made for tools counts where there are several."""
    file = path / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    if isinstance(value, list):
        named = cast("list[dict[str, str]]", value)
        by_name = {item.get("name", ""): item.get("template", "") for item in named}
        return by_name.get("tool_use") or by_name.get("default", "")
    return value if isinstance(value, str) else ""

"""The disk tier's folder: what is in it at start, and what of it may be deleted.

``kv/<model>/`` has one model's files, ``kv/writes.json`` the bytes written today. Only files
that carry our kind of name are ever deleted.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from anyclaude.caches.kv.disk_format import OtherVersion, Unusable, read_header
from anyclaude.caches.kv.disk_index import Entry

FOLDER_NAME = "kv"
"""The tier's folder in the data folder."""
DEFAULT_BYTES = 20 * 10**9
FREE_SHARE = 10
RESERVE_BYTES = 10**9

_MODEL = re.compile(r"[0-9a-f]{32}")
_FILE = re.compile(r"(kv|state|head)-\d{8,}-\d{8,}-[0-9a-f]{32}")
_TEMPORARY = re.compile(r"\.writing-(\d+)-.+")


@dataclass(slots=True)
class Found:
    """What a scan saw: our model's entries (heads too), other models', and what went wrong."""

    ours: list[Entry] = field(default_factory=list)
    others: list[Entry] = field(default_factory=list)
    deleted: dict[str, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)

    def summary(self) -> str:
        """One sentence on what went wrong; empty when nothing did."""
        clauses = [
            f"{what}: " + ", ".join(f"{count} x {why}" for why, count in counts.items())
            for what, counts in (("deleted", self.deleted), ("left alone", self.ignored))
            if counts
        ]
        return "; ".join(clauses)


class DiskFolder:
    """``root`` with a folder for each model; every call may raise OSError unless it says not."""

    def __init__(self, root: Path, free: Callable[[Path], int] | None = None) -> None:
        self.root = root
        self._free = free or _free_bytes
        self._count = 0

    def of(self, model: bytes) -> Path:
        return self.root / model.hex()[:32]

    def prepare(self, model: bytes) -> Path:
        """The model's folder, made for its owner alone."""
        folder = self.of(model)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        for path in (self.root, folder):
            path.chmod(0o700)
        return folder

    def temporary(self, path: Path) -> Path:
        """A name beside ``path`` that no other write has, this process's or another's."""
        self._count += 1
        return path.with_name(f".writing-{os.getpid()}-{self._count}")

    def default_limit(self, held: int) -> int:
        """The smaller of 20 GB and a tenth of the disk that is free but for us, in bytes."""
        return min(DEFAULT_BYTES, (self._free(self.root) + held) // FREE_SHARE)

    def require_room(self, size: int) -> None:
        """Raises OSError when ``size`` bytes more would leave the disk less than 1 GB."""
        if self._free(self.root) - size < RESERVE_BYTES:
            raise OSError(errno.ENOSPC, f"less than {RESERVE_BYTES / 1e9:.0f} GB would be free")

    def scan(self, model: bytes) -> Found:
        """Reads the headers of the model's files and the sizes of all others."""
        found = Found()
        ours = self.prepare(model)
        for folder in self._folders():
            for item in list(os.scandir(folder)):
                with suppress(FileNotFoundError):  # Another process may have deleted it.
                    leftover = _TEMPORARY.fullmatch(item.name)
                    if leftover:
                        if not _runs(int(leftover[1])):
                            _drop(Path(item.path), "unfinished", found)
                    elif folder == ours:
                        self._scan_ours(item, model, found)
                    elif _FILE.fullmatch(item.name) and item.is_file(follow_symlinks=False):
                        stat = item.stat()
                        entry = Entry(Path(item.path), stat.st_size, stat.st_mtime, None, False)
                        found.others.append(entry)
        return found

    def _scan_ours(self, item: os.DirEntry[str], model: bytes, found: Found) -> None:
        path = Path(item.path)
        if not _FILE.fullmatch(item.name) or not item.is_file(follow_symlinks=False):
            if not item.name.startswith("."):
                found.ignored["not ours"] = found.ignored.get("not ours", 0) + 1
        else:
            stat = item.stat()
            try:
                header = read_header(path)
                if header.model != model:
                    raise Unusable("other model")
                if header.run.name != item.name:
                    raise Unusable("misnamed")
            except OtherVersion:
                _drop(path, "other version", found)
            except Unusable:
                _drop(path, "damaged", found)
            except OSError as error:
                why = f"unreadable ({error.strerror or error})"
                found.ignored[why] = found.ignored.get(why, 0) + 1
            else:
                if stat.st_mode & 0o077:
                    with suppress(OSError):
                        path.chmod(0o600)
                found.ours.append(Entry(path, stat.st_size, stat.st_mtime, header.run, True))

    def delete_all(self) -> tuple[int, int]:
        """Deletes every file of ours; how many and how many bytes. Never raises."""
        files = nbytes = 0
        with suppress(OSError):
            for folder in self._folders():
                for item in list(os.scandir(folder)):
                    if _FILE.fullmatch(item.name) or _TEMPORARY.fullmatch(item.name):
                        with suppress(OSError):
                            size = item.stat(follow_symlinks=False).st_size
                            os.unlink(item.path)
                            files, nbytes = files + 1, nbytes + size
                with suppress(OSError):
                    folder.rmdir()
        return files, nbytes

    def _folders(self) -> Iterator[Path]:
        for item in list(os.scandir(self.root)):
            if _MODEL.fullmatch(item.name) and item.is_dir(follow_symlinks=False):
                yield Path(item.path)


def _drop(path: Path, why: str, found: Found) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        found.ignored[why] = found.ignored.get(why, 0) + 1
    else:
        found.deleted[why] = found.deleted.get(why, 0) + 1


def _runs(pid: int) -> bool:
    """Whether another process of that number is alive, and so may still be writing."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _free_bytes(path: Path) -> int:
    return shutil.disk_usage(path).free

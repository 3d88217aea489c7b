"""A file of the disk tier checks every byte of itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.caches.kv import disk_format
from anyclaude.caches.kv.disk_format import (
    ROW_BYTES,
    Blob,
    Kind,
    OtherModel,
    OtherVersion,
    Run,
    Unusable,
    checksum,
    encode,
    file_bytes,
    model_digest,
    pack,
    prefix_digests,
    read_file,
    read_header,
    unpack,
    write_file,
)
from anyclaude.types import Tokens

MODEL = model_digest("model")


def run_of(tokens: Tokens, start: int, stop: int) -> Run:
    packed = pack(tokens)
    prefix, end = prefix_digests(packed, (start, stop))
    return Run(Kind.KV, start, stop, prefix, end, packed[4 * start : 4 * stop])


def written(folder: Path, run: Run, blob: Blob, model: bytes = MODEL) -> Path:
    path = folder / run.name
    write_file(path, folder / "temporary", (encode(model, run, blob), blob.data))
    return path


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    rng = random.Random(1)
    for size in (0, 1, 4095, 4096, 4097, 100_000, 9 * 2**20 + 5):
        tokens = tuple(rng.randrange(2**32) for _ in range(70))
        run, blob = run_of(tokens, 3, 70), Blob(b"about", rng.randbytes(size))
        path = written(tmp_path, run, blob)
        assert path.stat().st_size == file_bytes(run, blob)
        assert path.stat().st_mode & 0o777 == 0o600
        back = read_file(path, MODEL, run)
        assert (back.meta, bytes(back.data)) == (blob.meta, blob.data)
        header = read_header(path)
        assert (header.run, header.model, header.file_bytes) == (run, MODEL, path.stat().st_size)
        assert unpack(header.run.tokens) == tokens[3:]
    assert [p for p in tmp_path.iterdir() if p.name == "temporary"] == []


def test_every_flipped_bit_every_cut_and_every_addition_is_noticed(tmp_path: Path) -> None:
    run = run_of(tuple(range(20)), 4, 20)
    path = written(tmp_path, run, Blob(b"about it", random.Random(2).randbytes(150)))
    good = path.read_bytes()
    for place in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[place] ^= 1 << bit
            path.write_bytes(bad)
            with pytest.raises(Unusable):
                read_file(path, MODEL, run)
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(Unusable):
            read_file(path, MODEL, run)
    path.write_bytes(good + b"\0")
    with pytest.raises(Unusable):
        read_file(path, MODEL, run)
    path.write_bytes(good)
    assert read_file(path, MODEL, run).meta == b"about it"


def test_other_versions_models_and_tokens_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tuple(range(20)), 4, 20)
    path = written(tmp_path, run, Blob(b"", b"bytes"))
    with pytest.raises(OtherModel):
        read_file(path, model_digest("other"), run)
    other = run_of((*range(10), 0, *range(11, 20)), 4, 20)
    with pytest.raises(Unusable, match="other tokens"):
        read_file(path, MODEL, other)
    monkeypatch.setattr(disk_format, "VERSION", disk_format.VERSION + 1)
    with pytest.raises(OtherVersion, match=rf"format {disk_format.VERSION - 1}, this release"):
        read_file(path, MODEL, run)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    run = run_of(tuple(range(20)), 4, 20)
    with pytest.raises(FileNotFoundError):
        written(tmp_path / "nowhere", run, Blob(b"", b""))
    (tmp_path / run.name).mkdir()
    with pytest.raises(IsADirectoryError):
        written(tmp_path, run, Blob(b"", b""))
    assert [p.name for p in tmp_path.iterdir()] == [run.name]


def test_links_are_not_followed(tmp_path: Path) -> None:
    run = run_of(tuple(range(20)), 4, 20)
    path = written(tmp_path, run, Blob(b"", b""))
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError):
        read_file(link, MODEL, run)


@given(st.integers(0, 5 * ROW_BYTES), st.data())
def test_the_checksum_sees_damage_of_any_shape(size: int, data: st.DataObject) -> None:
    good = random.Random(size).randbytes(size)
    bad = bytearray(good)
    kind = data.draw(st.sampled_from(["bytes", "zeros", "swap", "shift", "length"]))
    a, b = sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size))))
    if kind == "bytes":
        bad[a:b] = random.Random(a).randbytes(b - a)
    elif kind == "zeros":
        bad[a:b] = bytes(b - a)
    elif kind == "swap":
        bad = bytearray(good[b:] + good[a:b] + good[:a])
    elif kind == "shift":
        bad = bytearray(good[:a] + good[a + 1 : b] + b"\0" + good[b:])
    else:
        bad = bytearray(good[:a])
    assert (checksum(bad) == checksum(good)) == (bytes(bad) == good)
    assert checksum(bad, hurry=True) == checksum(bad)


def test_the_checksum_of_equal_rows_depends_on_their_place() -> None:
    rows = [bytes([n]) * ROW_BYTES for n in range(4)]
    sums = {checksum(b"".join(rows[i] for i in order)) for order in ((0, 1, 2, 3), (1, 0, 2, 3))}
    assert len(sums) == 2
    words = [n.to_bytes(8, "little") for n in range(ROW_BYTES // 8)]
    turned = [*words[1:], words[0]]
    assert checksum(b"".join(words)) != checksum(b"".join(turned))


def test_prefix_digests_are_those_of_the_prefixes() -> None:
    packed = pack(tuple(range(50)))
    for position, digest in zip((0, 1, 7, 50), prefix_digests(packed, (0, 1, 7, 50)), strict=True):
        assert [digest] == list(prefix_digests(packed[: 4 * position], [position]))

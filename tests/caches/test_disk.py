"""The disk tier when all goes well: restarts, branches, states, limits, budgets, heads."""

from __future__ import annotations

import stat
import threading

import pytest

from anyclaude.caches.kv import disk as disk_module
from anyclaude.caches.kv.disk import Blob, DiskLimits, DiskTier, Freed, Kind
from anyclaude.caches.kv.disk_plan import tokens_per_run
from anyclaude.types import Tokens
from tests.caches.disk_kit import DAY, SECONDS, TOKEN_BYTES, Kit, MakeKit, blob_for, tokens_of


def test_what_was_written_is_there_after_a_restart(kit: Kit) -> None:
    tokens = tokens_of(*range(25))
    assert kit.tier.match(tokens).length == 0
    runs = kit.save(tokens)
    assert [(run.start, run.stop) for run in runs] == [(0, 1024), (1024, 2048), (2048, 2500)]
    for _ in range(2):
        assert kit.tier.match(tokens).length == 2500
        assert kit.read(tokens) == 2500
        assert kit.save(tokens) == []
        kit.restart()
    assert kit.messages() == []


def test_a_prompt_that_grows_adds_files_and_one_that_branches_uses_part_of_one(kit: Kit) -> None:
    kit.save(tokens_of(1, 2, 3))
    grown, branch = tokens_of(1, 2, 3, 4), tokens_of(1, 2, 7)
    assert [(r.start, r.stop) for r in kit.save(grown)] == [(300, 400)]
    assert kit.tier.match(branch).length == 200
    assert kit.read(branch) == 200
    assert [(r.start, r.stop) for r in kit.save(branch)] == [(200, 300)]
    kit.restart()
    assert kit.read(grown) == 400
    assert kit.read(branch) == 300
    assert kit.read(tokens_of(2, 3)) == 0
    assert len(kit.files()) == 3


def test_what_memory_has_is_not_read(kit: Kit) -> None:
    tokens = tokens_of(*range(25))
    kit.save(tokens)
    load, pieces = kit.load(tokens, 1030)
    assert [(p.start, p.stop, p.skip) for p in pieces] == [(1030, 2048, 6), (2048, 2500, 0)]
    assert load.reached == 2500
    load, pieces = kit.load(tokens, 2500)
    assert (load.finished, pieces, load.reached) == (True, [], 2500)


def test_the_fewest_files_are_read(kit: Kit) -> None:
    tokens = tokens_of(*range(6))
    kit.save(tokens[:200])
    (short,) = kit.files()
    data = short.read_bytes()
    short.unlink()
    kit.restart()
    kit.save(tokens[:400])
    kit.save(tokens)
    short.write_bytes(data)
    kit.restart()
    assert len(kit.files()) == 3
    assert [(p.start, p.stop) for p in kit.load(tokens)[1]] == [(0, 400), (400, 600)]
    assert [(p.start, p.stop) for p in kit.load(tokens[:150])[1]] == [(0, 150)]


def test_runs_too_short_for_a_file_wait_for_the_next_turn(kit: Kit) -> None:
    tokens = tokens_of(1, 2)
    assert kit.save(tokens[:63]) == []
    kit.save(tokens[:64])
    assert kit.save(tokens[:127]) == []
    assert [(r.start, r.stop) for r in kit.save(tokens)] == [(64, 200)]


def test_a_session_head_has_files_of_its_own(kit: Kit) -> None:
    runs = kit.save(tokens_of(*range(20)), head=1100)
    assert [(r.start, r.stop) for r in runs] == [(0, 1024), (1024, 1100), (1100, 2000)]


@pytest.mark.parametrize(
    ("per_token", "tokens"), [(0, 1024), (46_080, 1024), (131_072, 512), (10**9, 64)]
)
def test_a_file_holds_no_more_than_is_turned_to_bytes_at_once(per_token: int, tokens: int) -> None:
    assert tokens_per_run(per_token) == tokens


def test_models_do_not_mix(make_kit: MakeKit) -> None:
    kit = make_kit(name="one")
    tokens = tokens_of(1, 2)
    kit.save(tokens)
    kit.open("two")
    assert kit.tier.match(tokens).length == 0
    assert kit.tier.stats().entries == 1
    kit.save(tokens)
    kit.open("one")
    assert kit.read(tokens) == 200
    assert kit.tier.stats().entries == 2
    assert kit.tier.stats().tokens == 200
    assert kit.messages() == []


def test_a_load_of_a_model_that_was_changed_ends_and_harms_nothing(make_kit: MakeKit) -> None:
    kit = make_kit(name="one")
    tokens = tokens_of(1, 2)
    kit.save(tokens)
    match = kit.tier.match(tokens)
    kit.open("two")
    woken = threading.Event()
    load = kit.tier.load(match, 0, woken.set)
    assert woken.wait(SECONDS)
    assert (load.finished, load.reached) == (True, 0)
    kit.open("one")
    assert kit.read(tokens) == 200


# -------------------------------------------------------------------------------------- states


def test_a_model_with_states_matches_at_states_only(make_kit: MakeKit) -> None:
    kit = make_kit(states=True)
    tokens = tokens_of(1, 2, 3, 4)
    runs = kit.save(tokens, head=100, states={100: 50, 200: 50, 300: 50})
    places = [(r.kind, r.start, r.stop) for r in runs]
    assert places == [
        (Kind.KV, 0, 100),
        (Kind.STATE, 100, 100),
        (Kind.STATE, 200, 200),
        (Kind.STATE, 300, 300),
        (Kind.KV, 100, 400),
    ]
    kit.restart(states=True)
    for length, reach in ((400, 300), (300, 300), (299, 200), (199, 100), (99, 0)):
        assert kit.tier.match(tokens[:length]).length == reach
        assert kit.read(tokens[:length]) == reach
    assert kit.read(tokens, have=100) == 300
    assert kit.read(tokens, have=300) == 300
    assert kit.read(tokens_of(1, 2, 3, 9)) == 300
    assert kit.read(tokens_of(1, 9)) == 100
    assert kit.save(tokens, head=100, states={100: 50, 200: 50, 300: 50}) == []


def test_a_state_without_all_kv_before_it_is_neither_written_nor_used(make_kit: MakeKit) -> None:
    kit = make_kit(states=True)
    tokens = tokens_of(1, 2, 3)
    kit.save(tokens[:230], states={230: 9})
    assert kit.tier.match(tokens).length == 230
    runs = kit.save(tokens[:250], states={250: 9})
    assert runs == []  # 20 tokens aren't worth a file yet, so the state can't be reached.
    kit.tier.close(SECONDS)
    kit.files()[0].unlink()
    kit.restart(states=True)
    assert kit.tier.match(tokens).length == 0


def test_a_model_of_states_alone_needs_no_kv(make_kit: MakeKit) -> None:
    kit = make_kit(kv=False, states=True)
    tokens = tokens_of(1, 2, 3)
    runs = kit.save(tokens, states={100: 10, 280: 10})
    assert [(r.kind, r.stop) for r in runs] == [(Kind.STATE, 100), (Kind.STATE, 280)]
    kit.restart(kv=False, states=True)
    load, pieces = kit.load(tokens)
    assert [(p.kind, p.stop) for p in pieces] == [(Kind.STATE, 280)]
    assert (load.reached, kit.read(tokens)) == (280, 280)
    assert kit.tier.match(tokens[:279]).length == 100
    assert kit.tier.match(tokens[:99]).length == 0


def test_of_many_states_the_head_s_and_the_two_deepest_are_written(make_kit: MakeKit) -> None:
    kit = make_kit(states=True)
    tokens = tokens_of(*range(8))
    runs = kit.save(tokens, head=150, states=dict.fromkeys((100, 150, 300, 400, 500, 700, 750), 9))
    assert [r.stop for r in runs if r.kind is Kind.STATE] == [150, 500, 700]  # 750 is near 700.
    runs = kit.save(tokens, head=150, states=dict.fromkeys((100, 150, 300, 400, 500, 700, 750), 9))
    assert runs == []
    longer = (*tokens, *tokens_of(8, 9))
    runs = kit.save(longer, head=150, states=dict.fromkeys((150, 500, 700, 900, 1000), 9))
    assert [r.stop for r in runs if r.kind is Kind.STATE] == [900, 1000]


# --------------------------------------------------------------------------- limits and budgets


def test_the_least_recently_used_files_go_first(make_kit: MakeKit) -> None:
    kit = make_kit(DiskLimits(20_000, 0))
    prompts = [tokens_of(i, *range(4)) for i in range(100, 112)]
    for tokens in prompts[:3]:
        kit.now += 1
        kit.save(tokens)
    kit.now += 1
    kit.read(prompts[0])
    for tokens in prompts[3:]:
        kit.now += 1
        kit.save(tokens)
        kit.tier.match(prompts[0])
        if kit.tier.stats().evictions:
            break
    assert kit.tier.match(prompts[0]).length == 500
    assert kit.tier.match(prompts[1]).length == 0
    assert kit.tier.match(prompts[2]).length == 500
    stats = kit.tier.stats()
    assert stats.nbytes == sum(f.stat().st_size for f in kit.files()) <= 20_000
    assert stats.limit == 20_000


def test_age_survives_a_restart_and_counts_other_models(make_kit: MakeKit) -> None:
    kit = make_kit(DiskLimits(21_000, 0), name="one")
    first, second = tokens_of(1, 2, 3, 4), tokens_of(5, 6, 7, 8)
    kit.save(first)
    kit.now += 100
    kit.save(second)
    kit.now += 100
    kit.read(first)
    kit.restart("two")
    count = 0
    while kit.tier.stats().evictions == 0:
        kit.now += 1
        kit.save(tokens_of(count, "other", 1, 2))
        count += 1
    kit.open("one")
    assert kit.tier.match(first).length == 400
    assert kit.tier.match(second).length == 0


def test_the_end_of_a_conversation_goes_before_its_beginning(make_kit: MakeKit) -> None:
    kit = make_kit(DiskLimits(62_000, 0))
    tokens = tokens_of(*range(50))
    kit.save(tokens)
    assert kit.tier.stats().entries == 5
    kit.now += 1
    kit.save(tokens_of("a", *range(25)))
    assert 0 < kit.tier.match(tokens).length < 5000
    assert kit.tier.match(tokens).length % 1024 == 0
    assert kit.read(tokens) == kit.tier.match(tokens).length


def test_a_conversation_in_memory_keeps_its_older_files_young(make_kit: MakeKit) -> None:
    kit = make_kit(DiskLimits(20_000, 0))
    mine, other = tokens_of(1, 2, 3, 4), tokens_of(5, 6, 7, 8)
    kit.save(mine)
    kit.now += 100
    kit.save(other)
    kit.now += 100
    kit.save((*mine, *tokens_of(9)))  # Nothing was read from the disk for it.
    while kit.tier.stats().evictions == 0:
        kit.now += 1
        kit.save(tokens_of(kit.now, 1, 2))
    assert kit.tier.match(mine).length == 400
    assert kit.tier.match(other).length == 0


def test_the_default_size_depends_on_the_free_disk_and_is_stable(make_kit: MakeKit) -> None:
    kit = make_kit(DiskLimits(0, 0))
    assert kit.tier.stats().limit == 20 * 10**9
    kit.free = 10**11
    kit.save(tokens_of(*range(20)))
    held = kit.tier.stats().nbytes
    kit.free -= held
    kit.restart()
    assert kit.tier.stats().limit == 10**10


def test_a_smaller_limit_is_kept_from_the_start(kit: Kit) -> None:
    kit.save(tokens_of(*range(50)))
    kit.limits = DiskLimits(25_000, 0)
    kit.restart()
    assert 0 < kit.tier.stats().nbytes <= 25_000
    assert sum(f.stat().st_size for f in kit.files()) == kit.tier.stats().nbytes


def test_there_are_never_more_files_than_a_scan_can_bear(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anyclaude.caches.kv.disk_shelf.MAX_FILES", 6)
    for number in range(10):
        kit.now += 1
        kit.save(tokens_of(number, "x"))
    assert len(kit.files()) <= 6
    assert kit.tier.match(tokens_of(9, "x")).length == 200


def test_half_of_the_day_is_for_heads_and_what_was_seen_twice(make_kit: MakeKit) -> None:
    kit = make_kit(DiskLimits(10**9, 60_000))
    kit.save(tokens_of("first", *range(20)))
    assert kit.tier.stats().written_today < 30_000
    once, head = tokens_of("once", *range(9)), tokens_of("head", 1)
    assert kit.save(once) == []
    runs = kit.save((*head, *tokens_of(1, 2, 3)), head=200)
    assert [(r.start, r.stop) for r in runs] == [(0, 200)]
    runs = kit.save((*once, *tokens_of("more")))
    assert [(r.start, r.stop) for r in runs] == [(0, 896)]  # As far as the first time, in 128s.
    spent = kit.tier.stats().written_today
    assert 30_000 < spent <= 60_000
    kit.restart()
    assert kit.tier.stats().written_today == spent
    assert kit.save(tokens_of("new", *range(5))) == []
    while kit.save((head := tokens_of(kit.now, 2, 3, 4)), head=len(head)):
        kit.now += 1
    assert kit.tier.stats().written_today <= 60_000
    kit.now += DAY
    assert kit.tier.stats().written_today == 0
    assert kit.save(tokens_of("new", *range(5))) != []


def test_half_a_day_s_rule_holds_for_states_too(make_kit: MakeKit) -> None:
    kit = make_kit(DiskLimits(10**9, 60_000), states=True)
    kit.save(tokens_of("first", *range(20)))
    tokens = tokens_of("t", *range(5))
    states = {200: 2000, 500: 2000, 600: 2000}
    assert [(r.kind, r.stop) for r in kit.save(tokens, head=200, states=states)] == [
        (Kind.KV, 200),
        (Kind.STATE, 200),
    ]
    runs = kit.save(tokens, head=200, states=states)  # Now 512 tokens of it were seen before.
    assert [(r.kind, r.stop) for r in runs] == [(Kind.STATE, 500), (Kind.KV, 512)]


def test_without_a_limit_everything_is_written(make_kit: MakeKit) -> None:
    kit = make_kit(DiskLimits(10**9, 0))
    for number in range(10):
        assert kit.save(tokens_of(number, *range(10))) != []


# ------------------------------------------------------------------------ heads, flush, queues


def test_heads_are_kept_for_the_next_start_the_latest_first(kit: Kit) -> None:
    heads: list[Tokens] = [tokens_of("head", i) for i in range(10)]
    assert kit.tier.heads() == []
    for head in heads:
        kit.now += 100
        kit.tier.remember_head(head)
    kit.now += 100
    kit.tier.remember_head(heads[3])
    kit.tier.remember_head(())
    kit.settle()
    wanted = [heads[i] for i in (3, 9, 8, 7, 6, 5, 4, 2)]
    assert kit.tier.heads() == wanted
    kit.restart()
    assert kit.tier.heads() == wanted
    assert len(kit.files("head")) == 8
    kit.open("other")
    assert kit.tier.heads() == []


def test_a_flush_really_deletes(make_kit: MakeKit) -> None:
    kit = make_kit(name="one")
    kit.save(tokens_of(1, 2))
    kit.open("two")
    kit.save(tokens_of(3, 4))
    kit.tier.remember_head(tokens_of(3))
    kit.settle()
    nbytes = kit.tier.stats().nbytes
    (kit.folder / "mine.txt").write_text("not a file of the tier", encoding="utf-8")
    assert kit.tier.flush().result(SECONDS) == Freed(3, nbytes)
    assert {p.name for p in kit.folder.iterdir()} == {"mine.txt", "writes.json"}
    assert kit.tier.match(tokens_of(3, 4)).length == 0
    assert kit.tier.heads() == []
    assert kit.tier.stats().nbytes == 0
    kit.save(tokens_of(3, 4))
    assert kit.read(tokens_of(3, 4)) == 200
    assert kit.messages() == []


def test_a_flush_drops_what_waits_and_gives_its_bytes_back(
    make_kit: MakeKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = make_kit(DiskLimits(10**9, 10**9))
    gate = Gate(monkeypatch)
    tokens = tokens_of(*range(30))
    for run in kit.tier.missing(tokens, token_bytes=TOKEN_BYTES):
        assert kit.tier.store(run, blob_for(run, tokens))
    gate.reached.acquire(timeout=SECONDS)
    flushed = kit.tier.flush()
    gate.open.set()
    assert flushed.result(SECONDS).entries == 1  # The one that was under way.
    assert kit.files() == []
    assert kit.tier.stats().queued == 0
    assert kit.tier.stats().written_today < 1024 * TOKEN_BYTES * 2
    assert kit.tier.match(tokens).length == 0
    kit.save(tokens)
    assert kit.read(tokens) == 3000


class Gate:
    """Holds every write until ``open`` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from anyclaude.caches.kv import disk_shelf

        self.reached = threading.Semaphore(0)
        self.open = threading.Event()
        write = disk_shelf.write_file

        def slow(*args: object) -> None:
            self.reached.release()
            assert self.open.wait(SECONDS)
            write(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(disk_shelf, "write_file", slow)


def test_reads_and_lookups_do_not_wait_for_writes(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, coming = tokens_of(1, 2), tokens_of(*range(30))
    kit.save(there)
    gate = Gate(monkeypatch)
    for run in kit.tier.missing(coming, token_bytes=TOKEN_BYTES):
        assert kit.tier.store(run, blob_for(run, coming))
    gate.reached.acquire(timeout=SECONDS)
    assert kit.read(there) == 200
    assert kit.tier.missing(coming, token_bytes=TOKEN_BYTES) == []  # On their way.
    assert kit.tier.match(coming).length == 0
    gate.open.set()
    kit.settle()
    assert kit.tier.match(coming).length == 3000


def test_the_queue_is_bounded(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_module, "QUEUE_BYTES", 14_000)
    gate = Gate(monkeypatch)
    tokens = tokens_of(*range(30))
    runs = kit.tier.missing(tokens, token_bytes=TOKEN_BYTES)
    assert kit.tier.room == 14_000
    assert kit.tier.takes(15_000)  # An empty queue takes what would never fit otherwise.
    assert kit.tier.store(runs[0], blob_for(runs[0], tokens))
    assert kit.tier.room < 4_000
    assert kit.tier.takes(kit.tier.room)
    assert not kit.tier.takes(kit.tier.room + 1)
    assert not kit.tier.store(runs[1], blob_for(runs[1], tokens))
    assert kit.tier.store(runs[0], blob_for(runs[0], tokens))  # It is taken already.
    gate.open.set()
    kit.settle()
    assert kit.tier.room == 14_000
    assert kit.tier.match(tokens).length == 1024
    again = kit.tier.missing(tokens, token_bytes=TOKEN_BYTES)
    assert [(r.start, r.stop) for r in again] == [(1024, 2048), (2048, 3000)]


def test_a_load_reads_two_files_ahead_and_no_more(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anyclaude.caches.kv import disk_shelf

    tokens = tokens_of(*range(100))
    kit.save(tokens)
    reads = 0
    read = disk_shelf.read_file

    def counting(*args: object) -> Blob:
        nonlocal reads
        reads += 1
        return read(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(disk_shelf, "read_file", counting)
    woken = threading.Semaphore(0)
    load = kit.tier.load(kit.tier.match(tokens), 0, woken.release)
    for _ in range(2):
        assert woken.acquire(timeout=SECONDS)
    other, _ = kit.load(tokens[:100])  # The reader is free for others.
    assert (other.reached, reads) == (100, 3)
    assert load.take() is not None
    assert woken.acquire(timeout=SECONDS)
    assert reads == 4
    load.cancel()
    assert load.finished
    assert load.take() is None


def test_files_are_the_owner_s_alone(kit: Kit) -> None:
    kit.save(tokens_of(1, 2))
    kit.tier.remember_head(tokens_of(1))
    kit.settle()
    for path in (kit.folder, *kit.folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    for path in (kit.folder, *kit.folder.rglob("*-*")):
        path.chmod(0o777)
    kit.restart()
    assert kit.folder.stat().st_mode & 0o077 == 0
    assert all(f.stat().st_mode & 0o077 == 0 for f in kit.files())


def test_without_an_open_model_nothing_happens_and_nothing_fails(kit: Kit) -> None:
    tokens = tokens_of(1, 2)
    kit.save(tokens)
    runs = kit.tier.missing(tokens_of(3, 4), token_bytes=TOKEN_BYTES)
    kit.tier.close(SECONDS)
    closed: DiskTier = kit.tier
    kit.tier = kit.make()
    for tier in (closed, kit.tier):
        assert tier.match(tokens).length == 0
        assert tier.missing(tokens, token_bytes=1) == []
        assert not tier.store(runs[0], blob_for(runs[0], tokens_of(3, 4)))
        tier.remember_head(tokens)
        assert tier.heads() == []
        load = tier.load(tier.match(tokens), 0, lambda: None)
        assert load.finished
    assert closed.drain().cancelled()
    assert kit.tier.flush().result(SECONDS).entries == 1


def test_closing_writes_what_is_queued(kit: Kit) -> None:
    tokens = tokens_of(*range(30))
    for run in kit.tier.missing(tokens, token_bytes=TOKEN_BYTES):
        assert kit.tier.store(run, blob_for(run, tokens))
    kit.restart()
    assert kit.read(tokens) == 3000
    names = {thread.name for thread in threading.enumerate()}
    kit.tier.close(SECONDS)
    left = {thread.name for thread in threading.enumerate()}
    assert {n for n in names - left} == {"anyclaude-disk", "anyclaude-disk-read"}

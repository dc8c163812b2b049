"""What of the stage store stays: what is needed now, then what was used last."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from autoopt.search.cli.main import autoopt
from autoopt.search.trial import stage_eviction
from autoopt.search.trial.stage_eviction import check, entries, evict, leftovers, pinned_addresses, pinning
from autoopt.search.trial.stage_store import StageStore
from autoopt.strategies import saving
from autoopt.strategies.saving import size_bytes
from tests.tiny import candidate

ADDRESSES = tuple(f"{number:x}" * 40 for number in range(4))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A root whose store holds four stages, the first one used longest ago."""
    store, given = StageStore(tmp_path / "stages"), candidate(layers=1)
    for number, address in enumerate(ADDRESSES):
        store.get_or_compute(address, given, lambda: given.evolve("opened").evolve("trained"))
        os.utime(store.folder / address[:2] / address, (1000.0 + number, 1000.0 + number))
    return tmp_path


def of_last(root: Path, count: int) -> int:
    """What so many entries take, those that were used last."""
    return sum(entry.size for entry in entries(root / "stages")[4 - count :])


def names(root: Path) -> list[str]:
    return [entry.address for entry in entries(root / "stages")]


def test_the_entries_are_listed_with_what_made_them(stored: Path) -> None:
    found = entries(stored / "stages")
    assert [entry.address for entry in found] == list(ADDRESSES)
    assert [entry.size for entry in found] == [size_bytes(entry.path) for entry in found]
    assert found[0].made_by == "trained"
    assert found[0].seconds > 0


def test_what_is_hidden_or_has_a_suffix_or_is_no_folder_is_no_entry(stored: Path) -> None:
    before, shelf = names(stored), stored / "stages" / "aa"
    shelf.mkdir(exist_ok=True)
    (shelf / ".half-removed").mkdir()
    (shelf / "entry.training").mkdir()
    (shelf / "file").touch()
    assert names(stored) == before


@pytest.mark.parametrize(("stay", "more", "left"), [(4, 0, 4), (3, 0, 3), (2, 1000, 2), (3, -1, 2), (0, 0, 0)])
def test_what_was_used_longest_ago_goes_first(stored: Path, stay: int, more: int, left: int) -> None:
    gone = evict(stored / "stages", of_last(stored, stay) + more)
    assert [entry.address for entry in gone] == list(ADDRESSES[: 4 - left])
    assert names(stored) == list(ADDRESSES[4 - left :])


def test_reading_an_entry_makes_it_young(stored: Path) -> None:
    StageStore(stored / "stages").load(ADDRESSES[0], candidate(layers=1))
    evict(stored / "stages", of_last(stored, 1) + 10)
    assert names(stored) == [ADDRESSES[0]]


def test_what_is_needed_stays_whatever_the_limit(stored: Path) -> None:
    with pinning(stored / "stages") as mark:
        mark([ADDRESSES[0]])
        mark([ADDRESSES[1], "not there"])
        evict(stored / "stages", 0)
        assert names(stored) == [ADDRESSES[1]]
    evict(stored / "stages", 0)
    assert names(stored) == []
    assert list((stored / "stages" / stage_eviction.PINS).iterdir()) == []


def hold(folder: Path, address: str) -> None:
    with pinning(folder) as mark:
        mark([address])
        (folder / "ready").touch()
        time.sleep(60)


def test_the_mark_of_a_dead_process_counts_for_nothing(stored: Path) -> None:
    folder = stored / "stages"
    holder = multiprocessing.get_context("fork").Process(target=hold, args=(folder, ADDRESSES[2]))
    holder.start()
    while not (folder / "ready").exists():
        time.sleep(0.01)
    assert pinned_addresses(folder) == {ADDRESSES[2]}
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join()
    assert pinned_addresses(folder) == set()
    assert list((folder / stage_eviction.PINS).iterdir()) == []


def test_what_is_being_computed_or_read_under_its_lease_stays(stored: Path) -> None:
    store = StageStore(stored / "stages")
    with store._lease(ADDRESSES[0]):
        evict(store.folder, 0)
    assert names(stored) == [ADDRESSES[0]]


def test_a_store_with_a_limit_keeps_it_and_never_drops_what_it_just_stored_for_itself(tmp_path: Path) -> None:
    given = candidate(layers=1)
    first = StageStore(tmp_path)
    first.get_or_compute(ADDRESSES[0], given, lambda: given)
    size = size_bytes(tmp_path / ADDRESSES[0][:2] / ADDRESSES[0])
    small = StageStore(tmp_path, limit=int(2.5 * size))
    for address in ADDRESSES[1:]:
        time.sleep(0.01)  # So that their times differ.
        small.get_or_compute(address, given, lambda: given)
    assert [entry.address for entry in entries(tmp_path)] == list(ADDRESSES[2:])
    with pinning(tmp_path) as mark:
        mark([ADDRESSES[3]])
        tiny = StageStore(tmp_path, limit=1)
        candidate_back, reused = tiny.get_or_compute(ADDRESSES[3], given, lambda: pytest.fail("it was there"))
    assert reused
    assert candidate_back.history == given.history


def test_an_entry_that_is_evicted_while_it_is_read_counts_as_absent(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = saving.load_weights

    def evicted_on_the_way(folder: Path) -> object:
        evict(stored / "stages", 0)
        return read(folder)

    monkeypatch.setattr("autoopt.search.trial.stage_store.load_weights", evicted_on_the_way)
    assert StageStore(stored / "stages").load(ADDRESSES[0], candidate(layers=1)) is None


def test_a_check_puts_aside_what_is_not_what_was_written(stored: Path) -> None:
    weights = next((stored / "stages" / ADDRESSES[1][:2] / ADDRESSES[1]).glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert [entry.address for entry in check(stored / "stages")] == [ADDRESSES[1]]
    assert names(stored) == [address for address in ADDRESSES if address != ADDRESSES[1]]
    assert len(leftovers(stored / "stages")) == 1


def test_checkpoints_nobody_goes_on_from_are_left_over(stored: Path) -> None:
    folder = stored / "stages"
    for address in ADDRESSES[:3]:
        (folder / address[:2] / f"{address}.training").mkdir()
    (folder / ADDRESSES[3][:2] / f".{ADDRESSES[3]}.abc").mkdir()
    with StageStore(folder)._lease(ADDRESSES[0]):
        found = leftovers(folder, pinned={ADDRESSES[1]})
    assert [path.name for path in found] == [f"{ADDRESSES[2]}.training", f".{ADDRESSES[3]}.abc"]


def run(root: Path, *words: str) -> str:
    result = CliRunner().invoke(autoopt, ["cache", *words, "--root", str(root)])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_lists_checks_and_prunes(stored: Path) -> None:
    listed = json.loads(run(stored, "list", "--json"))
    assert [entry["address"] for entry in listed] == list(ADDRESSES)
    assert "4 stages" in run(stored, "list")
    assert "4 of 4 stages are intact" in run(stored, "check")
    assert json.loads(run(stored, "check", "--json")) == {"checked": 4, "broken": []}
    freed = of_last(stored, 4) - of_last(stored, 2)
    removed = json.loads(run(stored, "prune", "--to", f"{of_last(stored, 2)}B", "--json"))
    assert removed == {"removed": list(ADDRESSES[:2]), "freed": freed, "leftovers": 0}
    assert "removed 2 stages" in run(stored, "prune")
    assert names(stored) == []


def test_a_root_without_a_store_has_no_stages(tmp_path: Path) -> None:
    assert json.loads(run(tmp_path, "list", "--json")) == []
    assert "0 of 0 stages are intact" in run(tmp_path, "check")
    assert "removed 0 stages" in run(tmp_path, "prune")

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.search.trial.stage_store import StageStore, address, content_digest, digest, origin
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.catalog import find
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.system.code_digest import closure_digest, installed_source
from tests.tiny import candidate

HERE = "ab" * 20


def changed(given: Candidate) -> Candidate:
    import torch

    model = given.copy_model()
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    return given.evolve("added one", model=model)


def first_weight(given: Candidate) -> float:
    return next(given.model.parameters()).detach().flatten()[0].item()


def test_what_was_computed_once_is_found_and_is_the_same(tmp_path: Path) -> None:
    store, start = StageStore(tmp_path), candidate()
    computed, reused = store.get_or_compute(HERE, start, lambda: changed(start))
    found, again = store.get_or_compute(HERE, start, lambda: pytest.fail("computed twice"))
    assert (reused, again) == (False, True)
    assert first_weight(found) == first_weight(computed) != first_weight(start)
    assert found.history == computed.history
    assert found.train == start.train


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "no digests"])
def test_a_damaged_entry_is_put_aside_and_computed_again(tmp_path: Path, damage: str) -> None:
    store, start = StageStore(tmp_path), candidate()
    store.get_or_compute(HERE, start, lambda: changed(start))
    weights = next(tmp_path.glob("*/*/model.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    match damage:
        case "flip":
            weights.write_bytes(content)
        case "truncate":
            weights.write_bytes(content[: len(content) // 2])
        case "remove":
            weights.unlink()
        case "no digests":
            (weights.parent / "manifest.json").unlink()
    again, reused = store.get_or_compute(HERE, start, lambda: changed(start))
    assert not reused
    assert first_weight(again) == first_weight(changed(start))
    assert list(tmp_path.glob("*/*.corrupt-*"))


@pytest.mark.parametrize(("damage", "times"), [("flip", 1000), ("truncate", 50), ("zero", 50)])
def test_whatever_is_damaged_of_an_entry_is_noticed_and_never_used(tmp_path: Path, damage: str, times: int) -> None:
    store, start, chance = StageStore(tmp_path / "store"), candidate(), random.Random(0)
    store.get_or_compute(HERE, start, lambda: changed(start))
    entry = next((tmp_path / "store").glob(f"??/{HERE}"))
    files = [file for file in sorted(entry.iterdir()) if file.is_file()]
    sound = {file: file.read_bytes() for file in files}
    for number in range(times):
        # Each file in turn, since nearly all bytes are weights.
        file = files[number % len(files)]
        content = bytearray(sound[file])
        if damage == "flip":
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        elif damage == "truncate":
            content = content[: chance.randrange(len(content))]
        else:
            length = chance.randrange(2, len(content))
            content[-length:] = bytes(length)
        file.write_bytes(content)
        assert store.load(HERE, start) is None, (file.name, number)
        aside = next(entry.parent.glob(f"{HERE}.corrupt-*"))
        aside.rename(entry)
        file.write_bytes(sound[file])
    assert store.load(HERE, start) is not None


def test_an_interrupted_computation_leaves_no_entry(tmp_path: Path) -> None:
    store, start = StageStore(tmp_path), candidate()

    def fail() -> Candidate:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.get_or_compute(HERE, start, fail)
    assert HERE not in store
    assert not store.get_or_compute(HERE, start, lambda: changed(start))[1]


def _compute_slowly(folder: Path, ledger: Path, seconds: float) -> None:
    start = candidate()

    def compute() -> Candidate:
        with ledger.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(seconds)
        return changed(start)

    StageStore(folder).get_or_compute(HERE, start, compute)


def test_two_processes_that_want_the_same_compute_it_once(tmp_path: Path) -> None:
    context, ledger = multiprocessing.get_context("spawn"), tmp_path / "ledger"
    workers = [context.Process(target=_compute_slowly, args=(tmp_path / "store", ledger, 2.0)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(ledger.read_text().split()) == 1


def test_where_the_one_that_computes_is_killed_the_other_takes_over(tmp_path: Path) -> None:
    context, ledger = multiprocessing.get_context("spawn"), tmp_path / "ledger"
    doomed = context.Process(target=_compute_slowly, args=(tmp_path / "store", ledger, 600.0))
    doomed.start()
    while not ledger.exists():
        time.sleep(0.1)
    os.kill(doomed.pid or 0, signal.SIGKILL)
    doomed.join()
    heir = context.Process(target=_compute_slowly, args=(tmp_path / "store", ledger, 0.0))
    heir.start()
    heir.join()
    assert heir.exitcode == 0
    assert HERE in StageStore(tmp_path / "store")


def test_the_address_depends_on_everything_that_the_result_depends_on() -> None:
    step = find("layer_drop")()
    base = address("parent", step, effort=1.0, seed=0)
    assert base == address("parent", step, effort=1.0, seed=0)
    others = {
        address("other", step, effort=1.0, seed=0),
        address("parent", replace_keep(0.33), effort=1.0, seed=0),
        address("parent", step, effort=0.5, seed=0),
        address("parent", step, effort=1.0, seed=1),
        address("parent", find("ffn_pruning")(), effort=1.0, seed=0),
    }
    assert len(others) == 5
    assert base not in others


def replace_keep(keep: float) -> Strategy:
    return find("layer_drop").model_validate({"keep": keep})


def test_another_model_other_data_and_other_numbers_begin_at_another_address() -> None:
    origins = {
        origin(model=model, data=data, task=TextClassification(labels=("a", "b")), precision=precision)
        for model in "xy"
        for data in "xy"
        for precision in ("torch.float32", "torch.bfloat16")
    }
    assert len(origins) == 8


def test_another_task_and_other_code_of_the_task_begin_at_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*labels: str) -> str:
        return origin(model="m", data="d", task=TextClassification(labels=labels), precision="torch.float32")

    before = start("a", "b")
    assert before == start("a", "b") != start("a", "c")
    use_changed_code(monkeypatch, "autoopt.objectives.tasks.sequence_classification")
    assert start("a", "b") != before


def test_other_code_of_the_scores_during_training_is_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def start() -> str:
        return origin(model="m", data="d", task=TextClassification(labels=("a", "b")), precision="torch.float32")

    before = start()
    use_changed_code(monkeypatch, "autoopt.objectives.monitor")
    assert start() != before


def test_other_code_of_a_strategy_is_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def at(name: str) -> str:
        return address("parent", find(name)(), effort=1.0, seed=0)

    before = at("layer_drop"), at("full_finetuning")
    use_changed_code(monkeypatch, "autoopt.strategies.training.loop")
    assert at("layer_drop") == before[0]
    assert at("full_finetuning") != before[1]


def use_changed_code(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Let addresses be made as if a line stood at the end of the module's file."""

    def source(name: str) -> str | None:
        text = installed_source(name)
        return f"{text}\nCHANGED = 1\n" if text is not None and name == module else text

    def digest_of(*modules: str) -> str:
        return closure_digest(modules, source)

    monkeypatch.setattr("autoopt.search.trial.stage_store.code_digest", digest_of)


def test_a_digest_ignores_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})


def test_training_data_stay_those_of_the_trial_that_loads(tmp_path: Path) -> None:
    store, start = StageStore(tmp_path), candidate()
    store.get_or_compute(HERE, start, lambda: changed(start))
    augmented = replace(start, train=start.train * 2)
    found = store.load(HERE, augmented)
    assert found is not None
    assert len(found.train) == 2 * len(start.train)


def test_what_is_in_a_file_that_a_step_reads_is_part_of_its_address(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    step = find("intermediate_task").model_validate({"data": str(file)})
    found = []
    for content in ("text,label\na,b\n", "text,label\na,c\n", "text,label\na,b\n"):
        file.write_text(content, encoding="utf-8")
        found.append(address("parent", step, effort=1.0, seed=0))
    assert found[0] == found[2] != found[1]
    assert content_digest("owner/data") == content_digest("") == ""
    assert content_digest(str(tmp_path)) != content_digest(str(file))


def test_no_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("looks for files")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "rglob", refused)
    assert content_digest("") == ""

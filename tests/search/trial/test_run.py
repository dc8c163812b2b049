"""One trial in this process, on a tiny model: the stages, the store, the screening."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.tasks import open_task
from autoopt.objectives.tasks.question_answering.task import QuestionAnswering
from autoopt.objectives.timing.latency import Calibration
from autoopt.objectives.timing.shape_table import ShapeTable
from autoopt.search.experiment.experiment import Experiment
from autoopt.search.experiment.opening import target_of
from autoopt.search.paths import StudyFolder
from autoopt.search.space.recipe import Recipe
from autoopt.search.trial import run as trial
from autoopt.search.trial import rungs, workspace
from autoopt.search.trial.execution import Assignment, execute, read_record
from autoopt.search.trial.other_bases import OtherBases
from autoopt.search.trial.record import State, TrialRecord
from autoopt.search.trial.run import build, run_trial
from autoopt.search.trial.rungs import RUNGS, TRUNK_RUNGS, quality_after, quality_at
from autoopt.search.trial.stage_eviction import entries, pinned_addresses
from autoopt.search.trial.stage_store import StageStore
from autoopt.search.trial.workspace import Workspace
from autoopt.strategies import saving
from autoopt.strategies.candidate import Candidate, Example, Span
from autoopt.strategies.catalog import find
from autoopt.strategies.errors import ModelError
from autoopt.strategies.networks.architectures import layers
from autoopt.strategies.stand_ins.structure import structure_digest
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.system.files import write_whole
from tests import tiny
from tests.search.samples import Stopped

BASELINE = Recipe.of([find("full_finetuning")()])
BEFORE, LATER = RUNGS
LEAF = Recipe.of([find("full_finetuning")(), find("layer_drop")(), find("distillation")(), find("int8_dynamic")()])


def opened(tmp_path: Path, *limits: str) -> Workspace:
    """A workspace on the tiny model whose latency is already known, so that no test waits for a measurement."""
    experiment = Experiment.model_validate(
        {
            "study": "tiny",
            "model": ["4", "2"],  # Layers of the tiny model.
            "data": {"source": "unused", "max_length": 16},
            "budget": list(limits),
        }
    )
    base = tiny.candidate()
    data = TextData(
        base.train, tiny.examples(20, seed=3), tiny.examples(20, seed=4), base.unlabeled, tiny.LABELS, "f", ()
    )
    scratch = tmp_path / "tiny" / "scratch"
    scratch.mkdir(parents=True)
    return Workspace(
        experiment=experiment,
        task=base.task,  # type: ignore[arg-type]
        data=data,
        base=base,
        store=StageStore(tmp_path / "stages"),
        shapes=ShapeTable(tmp_path / "shapes", target_of(experiment, base, data.validation)),
        scratch=scratch,
        seed=0,
        others=OtherBases(experiment, data, lambda name: tiny.candidate(layers=int(name)), scratch.parent),
        study_folder=scratch.parent,
    )


def stages_in(messages: list[str]) -> list[str]:
    """The stages that a trial said it came to; a slow one says how far it is, too."""
    return list(dict.fromkeys(message.partition(",")[0] for message in messages))


def stages_of(record: TrialRecord) -> list[tuple[str, bool]]:
    return [(stage.name, stage.reused) for stage in record.stages]


def test_a_trial_trains_scores_and_saves(tmp_path: Path) -> None:
    seen: list[str] = []
    record = run_trial(3, LEAF, opened(tmp_path), folder=tmp_path / "model", report=seen.append)
    assert record.state is State.COMPLETE
    assert stages_in(seen) == ["screening", "full_finetuning", "layer_drop", "distillation", "int8_dynamic", "scoring"]
    assert {"quality", "accuracy", "macro_f1", "latency_p50", "latency_ratio", "size"} <= set(record.measurements)
    assert record.measurements["quality"].samples == 20
    assert not any(reused for _, reused in stages_of(record))
    assert (tmp_path / "model" / "manifest.json").is_file()


def test_recovery_is_looked_at_on_its_way_and_comes_to_the_same_as_unseen(tmp_path: Path) -> None:
    seen: list[TrialRecord] = []
    space = opened(tmp_path)
    record = run_trial(3, LEAF, space, folder=tmp_path / "seen", report=lambda _: None, judge=seen.append)
    assert [list(each.rungs) for each in seen] == [[BEFORE], [BEFORE, LATER]]
    assert record.rungs == seen[-1].rungs
    assert [stages_of(each) for each in seen] == [
        [("screening", False), ("full_finetuning", False), ("layer_drop", False)]
    ] * 2
    assert all("latency_p50" in each.measurements and each.state is State.RUNNING for each in seen)
    assert seen[0].measurements["quality"].value == seen[0].rungs[BEFORE]
    assert 0 < seen[0].seconds < seen[1].seconds < record.seconds
    other = replace(space, store=StageStore(tmp_path / "other"))
    unseen = run_trial(3, LEAF, other, folder=tmp_path / "unseen", report=lambda _: None)
    assert unseen.rungs == {}
    weights = [load_file(tmp_path / name / "autoopt.safetensors") for name in ("seen", "unseen")]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_a_trunk_is_looked_at_where_nothing_is_made_of_it(tmp_path: Path) -> None:
    seen: list[TrialRecord] = []
    space, trunk = opened(tmp_path), Recipe.of([find("full_finetuning")()])
    record = run_trial(3, trunk, space, folder=tmp_path / "3", report=lambda _: None, judge=seen.append)
    assert [list(each.rungs) for each in seen] == [list(TRUNK_RUNGS)]
    assert [quality_after(record, name) for name in TRUNK_RUNGS] == [record.measurements["quality"].value]
    fast = Recipe.of([find("full_finetuning").model_validate({"learning_rate": 1e-4}), find("int8_dynamic")()])
    run_trial(4, fast, space, folder=tmp_path / "4", report=lambda _: None, judge=seen.append)
    assert len(seen) == 1


def test_a_study_may_have_any_number_of_rungs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    three = {**RUNGS, "half of recovery": 0.5}
    monkeypatch.setattr(rungs, "RUNGS", three)
    seen: list[TrialRecord] = []
    record = run_trial(3, LEAF, opened(tmp_path), folder=tmp_path / "model", report=lambda _: None, judge=seen.append)
    assert [list(each.rungs) for each in seen] == [list(three)[:count] for count in (1, 2, 3)]
    assert record.state is State.COMPLETE
    assert record.rungs == seen[-1].rungs
    assert {quality_after(record, name) for name in three} == {record.measurements["quality"].value}
    running = [quality_after(seen[-1], name) for name in three]
    assert running == [*list(record.rungs.values())[1:], None]
    bests = [quality_at(record, name) for name in three]
    assert bests == [max(list(record.rungs.values())[:count]) for count in (1, 2, 3)]


def test_a_rung_shows_what_the_candidate_is_worth_before_its_recovery(tmp_path: Path) -> None:
    seen: list[TrialRecord] = []
    space = opened(tmp_path)
    run_trial(3, LEAF, space, folder=tmp_path / "model", report=lambda _: None, judge=seen.append)
    cut, _ = build(Recipe.of([find("full_finetuning")(), find("layer_drop")()]), space)
    assert seen[0].rungs[BEFORE] == space.task.score(cut, space.data.validation)["quality"].value


def of_the_small_base(**settings: str) -> Recipe:
    """A recipe of the base model of two layers that learns from the one of four, with its own trunk untouched."""
    return Recipe.of([find("full_finetuning")(), find("larger_teacher").model_validate(settings)], model="2")


def test_a_small_base_model_learns_from_the_trunk_of_a_larger_one(tmp_path: Path) -> None:
    space, recipe = opened(tmp_path), of_the_small_base(base="4")
    record = run_trial(3, recipe, space, folder=tmp_path / "model", report=lambda _: None)
    assert record.state is State.COMPLETE
    of_the_teacher, own = (space.addresses(replace(BASELINE, model=model))[-1] for model in ("", "2"))
    assert {of_the_teacher, own, space.addresses(recipe)[-1]} == {
        address for address in (of_the_teacher, own, space.addresses(recipe)[-1]) if address in space.store
    }
    assert len(entries(space.store.folder)) == 3
    learned = [build(of_the_small_base(base=base), space)[0].model for base in ("4", "2")]
    assert [len(layers(model)) for model in learned] == [2, 2]
    assert tiny.digest(learned[0]) != tiny.digest(learned[1])


def test_the_address_of_what_a_larger_model_taught_covers_that_model(tmp_path: Path) -> None:
    space, recipe = opened(tmp_path), of_the_small_base(base="4")
    changed = replace(space, base=tiny.candidate(seed=1))
    before, after = space.addresses(recipe), changed.addresses(recipe)
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_no_teacher_is_trained_for_a_shape(tmp_path: Path) -> None:
    space = opened(tmp_path)
    build(of_the_small_base(base="4"), space, effort=0.0)
    assert entries(space.store.folder) == []


def test_what_is_stored_is_not_looked_at(tmp_path: Path) -> None:
    seen: list[TrialRecord] = []
    space = opened(tmp_path)
    run_trial(3, LEAF, space, folder=tmp_path / "3", report=lambda _: None)
    run_trial(4, LEAF, space, folder=tmp_path / "4", report=lambda _: None, judge=seen.append)
    assert seen == []


def test_a_trial_that_is_stopped_leaves_its_trunk_and_no_result(tmp_path: Path) -> None:
    space = opened(tmp_path)

    def stop(record: TrialRecord) -> None:
        if LATER in record.rungs:
            raise Stopped

    with pytest.raises(Stopped):
        run_trial(3, LEAF, space, folder=tmp_path / "model", report=lambda _: None, judge=stop)
    assert not (tmp_path / "model").exists()
    assert len(entries(space.store.folder)) == 1
    assert pinned_addresses(space.store.folder) == set()
    assert run_trial(4, LEAF, space, folder=tmp_path / "model", report=lambda _: None).state is State.COMPLETE


@pytest.mark.slow
def test_one_rejected_recipe_in_twenty_is_built_to_see_whether_screening_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = [
        Recipe.of(
            [
                find("full_finetuning")(),
                find("low_rank")(),
                find("distillation").model_validate({"epochs": epochs, "temperature": heat}),
            ]
        )
        for epochs in range(1, 26)
        for heat in (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5)
    ]
    assert 3 <= sum(map(trial.is_audited, recipes)) <= 20
    monkeypatch.setattr(trial, "is_audited", lambda _: True)
    space = opened(tmp_path, "size <= 1kB")
    record = run_trial(3, LEAF, space, folder=tmp_path / "model", report=lambda _: None)
    assert record.state is State.REJECTED
    assert record.reason.endswith("; built in full to see whether screening is right")
    assert ("distillation", False) in stages_of(record)
    monkeypatch.setattr(trial, "screen", lambda *_: {**record.measurements})
    space = opened(tmp_path / "wrong", "size <= 10MB")
    said = iter(["over", ""])
    monkeypatch.setattr(trial, "excess", lambda *_: next(said))
    record = run_trial(3, LEAF, space, folder=tmp_path / "model", report=lambda _: None)
    assert record.state is State.COMPLETE


def test_a_cut_that_tries_much_is_made_once_for_all_that_comes_after_it(tmp_path: Path) -> None:
    space = opened(tmp_path)
    cut = [find("full_finetuning")(), find("joint_pruning")()]
    run_trial(1, Recipe.of(cut), space, folder=tmp_path / "1", report=lambda _: None)
    record = run_trial(
        2, Recipe.of([*cut, find("int8_dynamic")()]), space, folder=tmp_path / "2", report=lambda _: None
    )
    assert [reused for name, reused in stages_of(record) if name in ("full_finetuning", "joint_pruning")] == [
        True,
        True,
    ]
    whole, eight_bits = (saving.load(tmp_path / name, open_task=open_task) for name in ("1", "2"))
    assert tiny.logits(whole) == pytest.approx(tiny.logits(eight_bits), abs=0.2)


@pytest.mark.parametrize("strategy", ["joint_pruning", "early_exit"])
def test_what_serving_costs_is_measured_once_more_where_it_depends_on_the_weights(
    tmp_path: Path, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    measured: list[str] = []
    workspace = opened(tmp_path)
    measure = Workspace.measure

    def watched(self: Workspace, candidate: Candidate, recipe: Recipe) -> dict[str, Measurement]:
        if candidate is not self.base:
            measured.append(structure_digest(candidate.model))
        return measure(self, candidate, recipe)

    monkeypatch.setattr(Workspace, "measure", watched)
    recipe = Recipe.of([*BASELINE.steps, find(strategy)()])
    record = run_trial(3, recipe, workspace, folder=tmp_path / "model", report=seen.append)
    assert stages_in(seen) == ["screening", "full_finetuning", strategy, "measuring", "scoring"]
    saved = saving.load(tmp_path / "model", open_task=open_task)
    assert record.state is State.COMPLETE
    assert len(measured) == 2
    assert measured[1] == structure_digest(saved.model)


def test_a_trial_over_budget_is_never_trained(tmp_path: Path) -> None:
    space = opened(tmp_path, "size <= 10KB")
    record = run_trial(3, LEAF, space, folder=tmp_path / "model", report=lambda _: None)
    assert record.state is State.REJECTED
    assert "size <= 10KB" in record.reason
    assert stages_of(record) == [("screening", False)]
    assert not list((tmp_path / "stages").rglob("*.safetensors"))
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_what_needs_no_training_is_built_once_and_judged_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, tight = opened(tmp_path), opened(tmp_path / "other", "size <= 10KB")
    leaf = Recipe.of([*BASELINE.steps, find("int8_dynamic")()])
    screened = run_trial(1, leaf, opened(tmp_path / "before"), folder=tmp_path / "1", report=lambda _: None)
    run_trial(0, BASELINE, given, folder=tmp_path / "0", report=lambda _: None)

    def shape_alone(*_: object) -> None:
        raise AssertionError("it was built as a shape first")

    monkeypatch.setattr(trial, "screen", shape_alone)
    seen: list[str] = []
    record = run_trial(2, leaf, given, folder=tmp_path / "2", report=seen.append)
    assert stages_in(seen) == ["int8_dynamic", "screening", "scoring"]
    assert record.measurements["quality"] == screened.measurements["quality"]
    with pytest.raises(AssertionError, match="as a shape first"):
        run_trial(3, LEAF, given, folder=tmp_path / "3", report=lambda _: None)
    rejected = run_trial(4, leaf, replace(tight, store=given.store), folder=tmp_path / "4", report=lambda _: None)
    assert rejected.state is State.REJECTED
    assert stages_of(rejected) == [("screening", False), ("full_finetuning", True), ("int8_dynamic", False)]
    assert not (tmp_path / "4").exists()


def test_the_baseline_is_trained_whatever_it_costs(tmp_path: Path) -> None:
    space = opened(tmp_path, "size <= 10KB")
    record = run_trial(0, BASELINE, space, folder=tmp_path / "model", report=lambda _: None, screened=False)
    assert record.state is State.COMPLETE


def test_a_trunk_that_was_trained_is_not_trained_again(tmp_path: Path) -> None:
    space = opened(tmp_path)
    run_trial(0, BASELINE, space, folder=tmp_path / "0", report=lambda _: None)
    record = run_trial(1, LEAF, space, folder=tmp_path / "1", report=lambda _: None)
    assert ("full_finetuning", True) in stages_of(record)
    assert ("distillation", False) in stages_of(record)


def test_a_recipe_from_the_store_is_the_same_model_bit_for_bit(tmp_path: Path) -> None:
    space = opened(tmp_path)
    computed, first = build(LEAF, space)
    found, stages = build(LEAF, space)
    assert [stage.reused for stage in stages] == [True, True, True, False]
    assert [stage.saved > 0 for stage in stages] == [True, False, True, False]  # The cut is not stored.
    assert [stage.saved for stage in first] == [0.0] * 4
    assert stages[0].saved == pytest.approx(first[0].seconds, rel=0.5)
    assert tiny.digest(found.model) == tiny.digest(computed.model)
    assert found.edits == computed.edits


def test_a_later_leaf_gets_the_trunk_as_its_teacher_also_from_the_store(tmp_path: Path) -> None:
    space = opened(tmp_path)
    trunk, _ = build(BASELINE, space)
    fresh, _ = build(LEAF, opened(tmp_path / "other"))
    from_store, _ = build(LEAF, space)
    assert from_store.teacher is not None
    assert tiny.digest(from_store.teacher) == tiny.digest(trunk.model)
    assert tiny.digest(from_store.model) == tiny.digest(fresh.model)


def test_augmented_data_are_there_when_the_trunk_comes_from_the_store(tmp_path: Path) -> None:
    space = opened(tmp_path)
    recipe = Recipe.of([find("random_edits")(), *BASELINE.steps])
    computed, _ = build(recipe, space)
    found, stages = build(recipe, space)
    assert stages[-1].reused
    assert found.train == computed.train != space.base.train


def test_what_is_tuned_on_validation_is_scored_and_saved(tmp_path: Path) -> None:
    saving.save(tiny.candidate(), tmp_path / "body")
    task = QuestionAnswering(max_length=16, unanswerable=True)
    answered = tuple(Example("goal", (Span("match", 4),), "the match today") for _ in range(8))
    unanswered = tuple(Example(word, (), "the match today") for word in ("goal", "cup", "coach"))
    base = replace(task.open_model(str(tmp_path / "body"), seed=0), train=answered)
    data = TextData(answered, unanswered, unanswered, (), (), "f", ())
    space = replace(opened(tmp_path), task=task, base=base, data=data)
    record = run_trial(0, BASELINE, space, folder=tmp_path / "model", report=lambda _: None)
    saved = saving.load(tmp_path / "model", open_task=open_task)
    assert isinstance(saved.task, QuestionAnswering)
    assert saved.task.null_threshold < 0
    assert task.score(saved, unanswered)["f1"].value < 1
    assert saved.task.score(saved, unanswered)["f1"].value == record.measurements["quality"].value == 1


def test_the_base_candidate_is_never_changed(tmp_path: Path) -> None:
    space = opened(tmp_path)
    before = tiny.digest(space.base.model)
    run_trial(3, LEAF, space, folder=tmp_path / "model", report=lambda _: None)
    assert tiny.digest(space.base.model) == before


def test_effort_0_leaves_the_store_alone(tmp_path: Path) -> None:
    build(LEAF, opened(tmp_path), effort=0.0)
    assert not (tmp_path / "stages").exists()


def _study_folder(folder: Path) -> StudyFolder:
    """Return the folder of a study that was begun, as a worker finds it."""
    study = StudyFolder(folder / "study")
    write_whole(study.experiment, "")
    return study


def test_a_failed_trial_is_recorded_with_its_type_and_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = opened(tmp_path)
    monkeypatch.setattr("autoopt.search.trial.execution._workspace", lambda _: space)
    broken = Recipe.of([find("full_finetuning").model_validate({"learning_rate": 1e30})])
    folder = _study_folder(tmp_path)
    record = execute(Assignment(5, broken), folder, lambda _: None)
    assert record.state is State.FAILED
    assert record.reason.startswith("Diverged: the loss is nan")
    assert "Traceback" in (folder.trial(5) / "error.txt").read_text()
    assert read_record(folder.result(5)) == record


def test_a_trial_that_has_a_result_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = opened(tmp_path)
    monkeypatch.setattr("autoopt.search.trial.execution._workspace", lambda _: space)
    folder = _study_folder(tmp_path)
    first = execute(Assignment(5, BASELINE), folder, lambda _: None)
    monkeypatch.setattr("autoopt.search.trial.execution._workspace", lambda _: pytest.fail("opened again"))
    assert execute(Assignment(5, BASELINE), folder, lambda _: None) == first


def test_all_trials_of_a_study_share_one_calibration_even_if_it_is_noisy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = Calibration(p50_ms=5.0, p95_ms=6.0, p99_ms=None, samples=150, cpu_over_wall=0.4, noisy=True)
    monkeypatch.setattr(workspace, "calibrate_once", lambda *_, **__: noisy)
    assert opened(tmp_path).calibration == noisy
    monkeypatch.setattr(workspace, "calibrate_once", lambda *_, **__: replace(noisy, p50_ms=50.0))
    again = replace(opened(tmp_path / "elsewhere"), study_folder=tmp_path / "tiny")
    assert again.calibration == noisy


def test_a_result_of_another_recipe_is_not_taken_for_the_trials_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = opened(tmp_path)
    monkeypatch.setattr("autoopt.search.trial.execution._workspace", lambda _: space)
    folder = _study_folder(tmp_path)
    execute(Assignment(5, Recipe.of([*BASELINE.steps, find("int8_dynamic")()])), folder, lambda _: None)
    record = execute(Assignment(5, BASELINE), folder, lambda _: None)
    assert (record.recipe, record.state) == (BASELINE, State.COMPLETE)
    assert read_record(folder.result(5)) == record
    assert not saving.load(folder.model(5), open_task=open_task).edits


def test_a_recipe_of_another_base_model_starts_from_that_model(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    recipe = Recipe.of([*BASELINE.steps, find("int8_dynamic")()], model="2")
    record = run_trial(3, recipe, workspace, folder=tmp_path / "model", report=lambda _: None)
    assert record.state is State.COMPLETE
    assert len(layers(saving.load(tmp_path / "model", open_task=open_task).model)) == 2
    ratio = record.measurements["latency_ratio"]
    assert ratio.low < ratio.high, "it is timed against the first base model, and is not of its shape"
    again = run_trial(4, replace(recipe, steps=BASELINE.steps), workspace, folder=tmp_path / "4", report=lambda _: None)
    assert ("full_finetuning", True) in stages_of(again)
    first = run_trial(5, BASELINE, workspace, folder=tmp_path / "5", report=lambda _: None)
    assert ("full_finetuning", False) in stages_of(first)
    assert StudyFolder(tmp_path / "tiny").origin_of("2").read_text(encoding="utf-8") == workspace.origin_of(recipe)
    assert workspace.origin_of(recipe) != workspace.origin


def test_a_leaf_of_another_base_model_learns_from_the_trunk_of_that_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, teachers = opened(tmp_path), list[int]()
    build(replace(LEAF, model="2", steps=LEAF.steps[:2]), workspace)

    def watching(_: Strategy, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        assert candidate.teacher is not None
        teachers.append(len(layers(candidate.teacher)))
        return candidate

    monkeypatch.setattr(type(LEAF.steps[2]), "apply", watching)
    build(replace(LEAF, model="2"), workspace)  # The cut trunk is stored, so that the teacher is built for itself.
    assert teachers == [2]


def test_a_base_model_that_the_study_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the study has no base model '3'; it has 4, 2"):
        build(replace(BASELINE, model="3"), opened(tmp_path))

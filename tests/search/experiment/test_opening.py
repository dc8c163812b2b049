"""From an experiment to what it may try: encoders and decoders have strategies of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.objectives.data.text_data import TextData
from autoopt.objectives.models.model_folder import ModelFolder
from autoopt.objectives.tasks.question_answering.task import QuestionAnswering
from autoopt.objectives.tasks.text_classification.task import TextClassification
from autoopt.search.experiment.experiment import Experiment
from autoopt.search.experiment.opening import facts, open_data, space_of, task_of
from autoopt.search.space.start_design import start_design
from autoopt.strategies.candidate import Example, Span
from autoopt.strategies.knobs import Choice

HEAD = TextClassification.head.facts


def experiment(folder: Path, task: str) -> Experiment:
    source = folder / "lines.csv"
    source.write_text("text,label\n" + "".join(f"text {place},{'ab'[place % 2]}\n" for place in range(60)), "utf-8")
    return Experiment.model_validate(
        {"study": "s", "task": task, "model": "org/model", "data": {"source": str(source)}}
    )


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("text_classification", {*HEAD, "labels", "classes", "single", "text", "unlabeled", "whole", "cpu"}),
        ("causal_lm", {"single", "unlabeled", "cpu", "writes"}),
    ],
)
def test_what_a_study_has_follows_from_its_task(tmp_path: Path, task: str, expected: set[str]) -> None:
    study = experiment(tmp_path, task)
    assert facts(study, open_data(study)) == expected


def test_a_decoder_is_offered_what_applies_to_it_and_the_rest_has_a_reason(tmp_path: Path) -> None:
    study = experiment(tmp_path, "causal_lm")
    space = space_of(study, open_data(study), {"model": ModelFolder(Path("model"), "model", {"model_type": "llama"})})
    offered = {offer.strategy.name for offer in space.offers}
    assert "full_finetuning" in offered
    assert not any(offer.strategy.needs & {*HEAD, "labels"} for offer in space.offers)
    assert "random_edits" not in offered
    assert space.withheld["weight_sharing"] == "it needs a task that is answered in one pass"
    if not any(offer.strategy.cuts for offer in space.offers):
        assert space.withheld["distillation"] == "it trains after a cut, and no strategy that cuts is offered"
    assert [step.name for step in start_design(space)[0].steps] == ["full_finetuning"]


def pooled(folder: Path, mode: str) -> ModelFolder:
    """A model whose files name its pooling."""
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text('[{"path": "1_Pooling", "type": "x.Pooling"}]', encoding="utf-8")
    (folder / "1_Pooling" / "config.json").write_text(f'{{"pooling_mode": "{mode}"}}', encoding="utf-8")
    return ModelFolder(folder, "model", {"model_type": "bert"})


def test_the_pooling_that_the_models_have_is_not_searched(tmp_path: Path) -> None:
    def options(*modes: str) -> object:
        models = {str(n): pooled(tmp_path / "-".join([*modes, str(n)]), mode) for n, mode in enumerate(modes)}
        study = experiment(tmp_path, "text_classification")
        offer = space_of(study, open_data(study), models).offer("pooling")
        assert offer is not None
        return offer.searched["pooling"]

    assert options("mean") == options("mean", "mean") == Choice("first", "max", "last")
    assert options("cls", "mean") == options("weightedmean") == Choice("first", "mean", "max", "last")


def test_the_windows_of_question_answering_may_be_set() -> None:
    study = Experiment.model_validate(
        {
            "study": "s",
            "task": {"name": "question_answering", "stride": 20, "max_answer_tokens": 5},
            "model": "org/model",
            "data": {"source": "unused.json", "max_length": 96},
        }
    )
    examples = (Example("Who won?", (Span("Chelsea", 0),), "Chelsea won."),) * 3
    task = task_of(study, TextData(examples, examples, examples, (), (), "f", ()))
    assert task == QuestionAnswering(max_length=96, stride=20, max_answer_tokens=5)


def test_a_space_knows_how_many_layers_its_model_has(tmp_path: Path) -> None:
    study = experiment(tmp_path, "text_classification")
    model = ModelFolder(Path("model"), "model", {"model_type": "distilbert", "n_layers": 6})
    assert space_of(study, open_data(study), {"model": model}).models[0].layers == 6
    unread = ModelFolder(Path("model"), "model", {"model_type": "distilbert", "n_layers": "six"})
    assert (
        space_of(study, open_data(study), {"model": unread}).models[0].layers is None
    )  # Whoever opens the model says what is wrong.

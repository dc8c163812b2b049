from __future__ import annotations

import pytest
from transformers import AutoConfig

from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.catalog import catalog
from autoopt.strategies.training.learning_rates import AUTO, LearningRate, resolve
from tests import tiny


class OfSize:
    """A model as far as its configuration."""

    def __init__(self, kind: str, **sizes: int) -> None:
        self.config = AutoConfig.for_model(kind, **sizes)


@pytest.mark.parametrize(
    ("model", "rate"),
    [
        (OfSize("bert", hidden_size=128, num_hidden_layers=2), 1.5e-4),
        (OfSize("bert", hidden_size=384, num_hidden_layers=6), 1.5e-4),
        (OfSize("distilbert", dim=768, n_layers=6), 7.5e-5),
        (OfSize("bert", hidden_size=768, num_hidden_layers=12), 3.75e-5),
        (OfSize("roberta", hidden_size=1024, num_hidden_layers=24), 1.41e-5),
    ],
)
def test_the_larger_the_model_the_lower_the_rate(model: OfSize, rate: float) -> None:
    assert resolve(AUTO, model) == pytest.approx(rate, rel=0.01)
    assert resolve(3e-4, model) == 3e-4


def test_a_training_takes_the_rate_that_follows_from_its_model() -> None:
    given = tiny.candidate(layers=2)
    rates: list[LearningRate] = [AUTO, resolve(AUTO, given.model), 2e-4]
    by_size, by_number, other = (
        tiny.digest(FullFinetuning(learning_rate=rate, epochs=1).apply(given, effort=1, seed=0).model) for rate in rates
    )
    assert by_size == by_number != other


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, strategy in catalog().items()
        if AUTO in getattr(strategy.knobs().get("learning_rate"), "options", ())
    ],
)
def test_a_recipe_of_an_earlier_version_gives_a_number(name: str) -> None:
    strategy = catalog()[name]
    assert strategy.model_validate({"learning_rate": 0.0002}).learning_rate == 2e-4  # type: ignore[attr-defined]
    assert strategy().model_dump(mode="json")["learning_rate"] == AUTO

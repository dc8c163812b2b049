"""NaN in the weights end a search before it begins, infinities are said; both are found in any floating-point type."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from autoopt.objectives.models.model_folder import find_model
from autoopt.objectives.weights.finite import PIECE_BYTES, NonFinite, check_finite, non_finite
from autoopt.strategies.errors import ModelError

TENSOR = "encoder.layer.0.output.dense.weight"


def change(folder: Path, dtype: torch.dtype = torch.float32, **values: float) -> Path:
    """Write the weights in ``dtype`` with these values at the first places of one tensor."""
    path = folder / "model.safetensors"
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(path).items()}
    for place, value in enumerate(values.values()):
        tensors[TENSOR].view(-1)[place] = value
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def test_sound_weights_are_passed_in_silence(model_folder: Path) -> None:
    assert check_finite(find_model(str(model_folder))) is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_nan_and_infinities_are_counted(model_folder: Path, dtype: torch.dtype) -> None:
    change(model_folder, dtype, a=float("nan"), b=float("-inf"), c=-float("nan"), d=float("inf"), e=float("inf"))
    assert list(non_finite(find_model(str(model_folder)))) == [NonFinite(TENSOR, nan=2, infinite=3)]


def test_the_largest_numbers_are_numbers(model_folder: Path) -> None:
    largest = torch.finfo(torch.float32)
    change(model_folder, a=largest.max, b=largest.min, c=largest.tiny / 2)
    assert check_finite(find_model(str(model_folder))) is None


def test_nan_are_refused_with_their_place(model_folder: Path) -> None:
    change(model_folder, a=float("nan"))
    with pytest.raises(ModelError, match=rf"hold 1 NaN \(no numbers\), the first in {TENSOR}: training cannot repair"):
        check_finite(find_model(str(model_folder)))


def test_infinities_are_a_warning(model_folder: Path) -> None:
    change(model_folder, a=float("inf"))
    warning = check_finite(find_model(str(model_folder)))
    assert warning is not None
    assert f"hold 1 infinite numbers, the first in {TENSOR}; if its answers are not finite" in warning


def test_a_tensor_of_several_pieces_is_read_to_its_end(model_folder: Path) -> None:
    path = model_folder / "model.safetensors"
    long = torch.zeros(PIECE_BYTES // 4 * 2 + 3)
    long[-1] = float("nan")
    save_file({**load_file(path), "more": long, "count": torch.ones(3, dtype=torch.int64)}, path)
    assert list(non_finite(find_model(str(model_folder)))) == [NonFinite("more", nan=1, infinite=0)]

from pathlib import Path

import torch

from autoopt.objectives.costs.size import measure_size, parameters
from autoopt.objectives.measurement import Direction


def test_the_size_is_all_bytes_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"0" * 1000)
    (tmp_path / "config.json").write_bytes(b"{}")
    size = measure_size(tmp_path)
    assert (size.name, size.value, size.unit, size.direction) == ("size", 1002, "bytes", Direction.MINIMIZE)
    assert (size.low, size.high) == (1002, 1002)


def test_a_tied_weight_counts_once() -> None:
    embedding, head = torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False)
    assert parameters(torch.nn.Sequential(embedding, head)) == 80
    head.weight = embedding.weight
    assert parameters(torch.nn.Sequential(embedding, head)) == 40

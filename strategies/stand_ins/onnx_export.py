"""Export models as ONNX graphs: once for each architecture, then filled with each model's weights."""

from __future__ import annotations

import copy
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoopt.strategies.stand_ins.onnx_model import INPUTS
from autoopt.strategies.stand_ins.structure import structure_digest
from autoopt.strategies.training.teacher_outputs import OUTPUTS

OUTLINES = 32
"""Number of cached outlines; without weights each takes a few dozen kilobytes."""
LONGEST_SHAPE = 8
"""Greatest number of integers in an initializer that is a shape rather than data."""


def exported(model: Any, *, int8: bool) -> bytes:
    """Return the graph of ``model`` for any batch size and length; with ``int8`` matrices and embeddings have 8 bits.

    Weights are quantized by output channel to 7 of their 8 bits: without VNNI products of 8-bit weights overflow.
    Models that differ only in their weights share one graph, which is exported once in a process.
    """
    structure = structure_digest(model, configuration=True)
    if structure not in _OUTLINES:
        _OUTLINES[structure] = Outline.of(model)
        while len(_OUTLINES) > OUTLINES:
            del _OUTLINES[next(iter(_OUTLINES))]
    outline = _OUTLINES[structure]
    proto = outline.filled(model) if outline else _graph(model)
    return _quantized(proto) if int8 else bytes(proto.SerializeToString())


@dataclass(frozen=True)
class Outline:
    """A graph without its weights."""

    graph: Any
    places: Mapping[str, tuple[str, bool]]
    """Tensor of the model that each initializer holds, and whether it is transposed."""

    @classmethod
    def of(cls, model: Any) -> Outline | None:
        """Export the outline of a model's graph; None if it holds data that are no tensor of the model."""
        from onnx import numpy_helper

        randomized = _randomized(model)
        tensors, graph, places = _tensors(randomized), _graph(randomized), dict[str, tuple[str, bool]]()
        for initializer in graph.graph.initializer:
            array = numpy_helper.to_array(initializer)
            tensor_of_model = _tensor_of(initializer.name.removeprefix("model."), array, tensors)
            if tensor_of_model and initializer.HasField("raw_data"):
                places[initializer.name] = tensor_of_model
                initializer.ClearField("raw_data")
            elif array.size > (1 if array.dtype.kind == "f" else LONGEST_SHAPE):
                return None
        return cls(graph, places)

    def filled(self, model: Any) -> Any:
        """Return the graph of a model of the same structure."""
        from onnx import ModelProto

        tensors, graph = _tensors(model), ModelProto()
        graph.CopyFrom(self.graph)
        for initializer in graph.graph.initializer:
            if initializer.name in self.places:
                name, transposed = self.places[initializer.name]
                array = tensors[name].numpy()
                initializer.raw_data = (array.T if transposed else array).tobytes()
        return graph


_OUTLINES: dict[str, Outline | None] = {}


def _tensors(model: Any) -> dict[str, torch.Tensor]:
    """Return parameters and buffers, also those that are not saved; on the CPU."""
    return {
        name: tensor.detach()
        for name, tensor in [
            *model.named_parameters(remove_duplicate=False),
            *model.named_buffers(remove_duplicate=False),
        ]
    }


def _randomized(model: Any) -> Any:
    """Return a copy with random weights: the exporter merges tensors with equal values, as new ones have."""
    other = copy.deepcopy(model)
    numbers = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in _tensors(other).values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5, generator=numbers)
    return other


def _tensor_of(name: str, array: Any, tensors: Mapping[str, torch.Tensor]) -> tuple[str, bool] | None:
    """Return the tensor that an initializer of this name and value holds, and whether it is transposed."""
    import numpy as np

    if name in tensors and np.array_equal(tensors[name].numpy(), array):
        return name, False
    if array.ndim == 2:
        for other, tensor in tensors.items():
            if tuple(tensor.shape) == array.shape[::-1] and np.array_equal(tensor.numpy().T, array):
                return other, True
    return None


class _Tuple(nn.Module):
    """The model with its logits as the only outputs, in a tuple."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.model(**dict(zip(INPUTS, inputs, strict=False)))
        return tuple(output[name] for name in self.names)


def _graph(model: Any) -> Any:
    """Export the model with torch's exporter."""
    example = torch.arange(14).reshape(2, 7) % model.config.vocab_size
    reads_types = getattr(model.config, "type_vocab_size", 0) > 0
    inputs = {"input_ids": example, "attention_mask": torch.ones_like(example)}
    if reads_types:
        inputs["token_type_ids"] = torch.zeros_like(example)
    with torch.inference_mode():
        output = model(**inputs)
    names = [name for name in OUTPUTS if output.get(name) is not None]
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    length = torch.export.Dim("length", min=1, max=model.config.max_position_embeddings)
    with _silenced():
        program = torch.onnx.export(
            _Tuple(model, names).eval(),
            tuple(inputs.values()),
            dynamic_shapes=(tuple({0: batch, 1: length} for _ in inputs),),
            input_names=list(inputs),
            output_names=names,
            dynamo=True,
            verbose=False,
        )
    return program.model_proto  # type: ignore[union-attr]


@contextmanager
def _silenced() -> Iterator[None]:
    """Silence the exporter's and the quantizer's notices of their own changes, twenty lines a model."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _quantized(proto: Any) -> bytes:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder, _silenced():
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(proto, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
        return path.read_bytes()

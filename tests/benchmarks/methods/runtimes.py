"""A fine-tuned model by hand in PyTorch, ONNX Runtime and OpenVINO: from a text to its class, one thread."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from autoopt.strategies.candidate import Candidate, Example
from tests.benchmarks.methods.classical import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

Logits: TypeAlias = "Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]"
"""Logits, (1, classes), of the token ids and the mask of one text, each (1, tokens)."""


def in_runtimes(candidate: Candidate) -> Iterator[tuple[str, Model]]:
    """Yield the classifier in every runtime that is installed, with its name."""
    names = [name for name in candidate.tokenizer.model_input_names if name in candidate.features()[0]]
    with tempfile.TemporaryDirectory() as folder:
        yield "PyTorch", _classifier(candidate, _in_torch(candidate.model))
        graph = _exported(candidate.model, names, Path(folder))
        yield "ONNX Runtime fp32", _classifier(candidate, _in_onnx_runtime(graph))
        yield "ONNX Runtime int8", _classifier(candidate, _in_onnx_runtime(_quantized(graph)))
        try:
            import nncf
            import openvino
        except ImportError:
            return
        model = openvino.convert_model(graph)
        yield "OpenVINO fp32", _classifier(candidate, _in_openvino(model))
        smaller = nncf.compress_weights(model)
        yield "OpenVINO int8", _classifier(candidate, _in_openvino(smaller))


def _classifier(candidate: Candidate, logits: Logits) -> Model:
    task: Any = candidate.task
    tokenizer, length = candidate.tokenizer, task.max_length

    def answers(examples: Sequence[Example]) -> list[Any]:
        inputs = (
            tokenizer(
                *(text for text in (example.text, example.text_pair) if text is not None),
                truncation=True,
                max_length=length,
                return_tensors="np",
            )
            for example in examples
        )
        return [int(logits(dict(each))[0].argmax()) for each in inputs]

    return answers


def _in_torch(model: Any) -> Logits:
    import torch

    def logits(inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
            return model(**tensors).logits.numpy()  # type: ignore[no-any-return]

    return logits


def _exported(model: Any, names: Sequence[str], folder: Path) -> Path:
    import torch

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return self.model(**dict(zip(names, inputs, strict=True))).logits  # type: ignore[no-any-return]

    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    file = folder / "model.onnx"
    torch.onnx.export(
        Plain().eval(),
        tuple(torch.ones(2, 7, dtype=torch.long) for _ in names),  # One tensor for all would be one input.
        file,
        input_names=list(names),
        dynamic_shapes=(tuple(sizes for _ in names),),
        external_data=False,
        verbose=False,
        dynamo=True,
    )
    return file


def _quantized(graph: Path) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    file = graph.with_name("int8.onnx")
    quantize_dynamic(graph, file, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    return file


def _in_onnx_runtime(graph: Path) -> Logits:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.read_bytes(), options, providers=["CPUExecutionProvider"])
    names = {each.name for each in session.get_inputs()}
    return lambda inputs: session.run(None, {name: inputs[name] for name in inputs if name in names})[0]


def _in_openvino(model: Any) -> Logits:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    names = {each.get_any_name() for each in model.inputs}
    return lambda inputs: request.infer({name: inputs[name] for name in inputs if name in names})[0].copy()

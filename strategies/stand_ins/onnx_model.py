"""A model as an ONNX graph run by ONNX Runtime; its state is the graph's bytes in one tensor."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.utils.generic import ModelOutput

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass
class Answers(ModelOutput):
    """Outputs of the graph."""

    logits: torch.Tensor | None = None
    start_logits: torch.Tensor | None = None
    end_logits: torch.Tensor | None = None


class OnnxModel(nn.Module):
    """Replaces a whole Hugging Face model once nothing more is trained. Runs on the CPU."""

    graph: torch.Tensor

    def __init__(self, config: Any, architecture: str, *, size: int, shape: str, weights: int) -> None:
        super().__init__()
        self.config = config
        self.architecture = architecture
        """Class of the exported model."""
        self._structure, self._parameter_count = shape, weights
        self.all_tied_weights_keys: dict[str, str] = {}
        self.register_buffer("graph", torch.zeros(size, dtype=torch.uint8))
        self._session: Any = None
        self._threads = 0

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def structure(self) -> str:
        return self._structure

    def parameter_count(self) -> int:
        return self._parameter_count

    def timed(self, *, texts: bool) -> AbstractContextManager[None]:  # noqa: ARG002
        return nullcontext()

    def tie_weights(self) -> None:
        """Do nothing: the graph has no tied weights."""

    def forward(self, *, output_hidden_states: bool = False, **inputs: torch.Tensor) -> Answers:
        """Return logits for inputs of shape (batch, length); inputs that the graph does not read are ignored."""
        if output_hidden_states:
            raise ValueError("an ONNX graph returns no hidden states")
        session = self._open_session()
        ids = inputs["input_ids"]
        available = {**{name: torch.zeros_like(ids) for name in INPUTS}, **inputs}
        feeds = {node.name: available[node.name].numpy() for node in session.get_inputs()}
        names = [node.name for node in session.get_outputs()]
        return Answers(
            **{n: torch.from_numpy(array) for n, array in zip(names, session.run(names, feeds), strict=True)}
        )

    def _open_session(self) -> Any:
        """Return the session, with as many threads as torch has now."""
        threads = torch.get_num_threads()
        if self._session is None or self._threads != threads:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(
                self.graph.numpy().tobytes(), options, providers=["CPUExecutionProvider"]
            )
            self._threads = threads
        return self._session

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._session = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the session, which cannot be copied."""
        return {**self.__dict__, "_session": None}

"""Pooling: how the head of a classifier makes one vector of a model's last hidden states."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from autoopt.strategies.networks.refitting import linear_of

if TYPE_CHECKING:
    import torch

POOLINGS = ("first", "mean", "max", "last")
"""``first`` and ``last`` read one token, ``mean`` and ``max`` all tokens that are no padding."""
STRATEGY = "pooling"
"""Strategy that replays the edit of ``pooling_edits``."""


def pool(states: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """Return one vector for each text, (batch, width), of states (batch, length, width).

    ``mask``, (batch, length), is 1 at tokens and 0 at padding. Raises ``ValueError`` for an unknown pooling.
    """
    match how:
        case "first":
            return states[:, 0]
        case "mean":
            weights = mask[..., None].to(states.dtype)
            return (states * weights).sum(1) / weights.sum(1).clamp_min(1)
        case "max":
            return states.masked_fill(mask[..., None] == 0, float("-inf")).amax(1)
        case "last":
            index = (mask.cumsum(1) * mask).argmax(1)
            return states.gather(1, index[:, None, None].expand(-1, 1, states.shape[-1])).squeeze(1)
        case _:
            raise ValueError(f"{how!r} is no pooling; choose one of {', '.join(POOLINGS)}")


class PooledClassifier:
    """A mixin for a transformers class: dropout and one linear layer on the pooled states, in place of its own head."""

    pooling: ClassVar[str]
    normalizes: ClassVar[bool]
    """Whether vectors are scaled to the length sqrt(width), as a model trained on cosine similarity expects."""

    def forward(
        self: Any,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        *,
        labels: torch.Tensor | None = None,
        **others: Any,
    ) -> Any:
        """Return what the transformers class returns, with logits (batch, classes)."""
        from transformers.modeling_outputs import SequenceClassifierOutput

        output = self.base_model(input_ids=input_ids, attention_mask=attention_mask, **others)
        states = output.last_hidden_state
        mask = states.new_ones(states.shape[:2]) if attention_mask is None else attention_mask
        vectors = pool(states, mask, self.pooling)
        if self.normalizes:
            vectors = vectors * (vectors.shape[-1] ** 0.5 / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-6))
        logits = self.classifier(self.dropout(vectors))
        return SequenceClassifierOutput(
            loss=None if labels is None else task_loss(logits, labels, self.config),
            logits=logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )


def with_pooling(model: Any, how: str, *, normalizes: bool = False, seed: int | None = None) -> Any:
    """Return a sequence classifier, changed in place, whose head is dropout and one linear layer on pooled states.

    The head below it (pooler, dense layer) is removed. The new layer is drawn from ``seed`` without effect on torch's
    global random state; zeros if None, to be loaded.
    """
    import torch
    from torch import nn

    if how not in POOLINGS:
        raise ValueError(f"{how!r} is no pooling; choose one of {', '.join(POOLINGS)}")
    head = [(name, part) for name, part in model.named_children() if name != model.base_model_prefix]
    rates = [part.p for _, child in head for part in child.modules() if isinstance(part, nn.Dropout)]
    for name, _ in head:
        delattr(model, name)
    if getattr(model.base_model, "pooler", None) is not None:
        model.base_model.pooler = None
    # OPT may project its last states to another width, which its own head tells.
    linears = [child for _, child in head if isinstance(child, nn.Linear)]
    width = linears[-1].in_features if linears else model.config.hidden_size
    weight = torch.zeros(model.config.num_labels, width)
    if seed is not None:
        spread = getattr(model.config, "initializer_range", 0.02)
        weight.normal_(0, spread, generator=torch.Generator().manual_seed(seed))
    own = model.get_input_embeddings().weight
    rate = rates[0] if rates else getattr(model.config, "hidden_dropout_prob", 0.1)
    model.dropout = nn.Dropout(rate).train(model.training)
    model.classifier = linear_of(weight.to(own), weight.new_zeros(len(weight)).to(own)).train(model.training)
    model.__class__ = _pooled_class(plain_class(model), how, normalizes)  # type: ignore[arg-type]
    model.num_labels = model.config.num_labels
    return model


def pooling_of(model: Any) -> str | None:
    """Return the pooling of the model's head; None if it is the head of the transformers class."""
    return model.pooling if isinstance(model, PooledClassifier) else None


def has_pooler(model: Any) -> bool:
    """Return whether the model's head reads what a pooler of the base model makes of the first token."""
    return getattr(model.base_model, "pooler", None) is not None and pooling_of(model) is None


def normalizes(model: Any) -> bool:
    """Return whether the model's head reads vectors of one length."""
    return isinstance(model, PooledClassifier) and model.normalizes


def text_vectors(model: Any, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the vectors, (batch, width), that the model's head would read of these states; not normalized."""
    return pool(states, mask, pooling_of(model) or "first")


def pooling_edits(model: Any) -> tuple[Mapping[str, Any], ...]:
    """Return the edit from which the model's pooling is restored on load; none if it has the head of its class."""
    how = pooling_of(model)
    return () if how is None else ({"strategy": STRATEGY, "pooling": how, "normalizes": normalizes(model)},)


def plain_class(model: Any) -> type[Any]:
    """Return the transformers class of the model, without its pooling."""
    return next(part for part in type(model).__mro__ if not issubclass(part, PooledClassifier))


def new_like(model: Any, config: Any, *, seed: int) -> Any:
    """Return a model of the same class and pooling with new weights, those of the head from ``seed``."""
    made = plain_class(model)(config)
    how = pooling_of(model)
    return made if how is None else with_pooling(made, how, normalizes=normalizes(model), seed=seed)


@cache
def _pooled_class(plain: type[Any], how: str, normalizes: bool) -> type[Any]:
    """Return the subclass that pools.

    It keeps the name, by which transformers finds the class on load; its ``__qualname__`` tells poolings apart.
    """
    values = {"pooling": how, "normalizes": normalizes, "__module__": __name__}
    values["__qualname__"] = f"{plain.__name__}.{how}{'.normalized' * normalizes}"
    return type(plain.__name__, (PooledClassifier, plain), values)


def task_loss(logits: torch.Tensor, labels: torch.Tensor, config: Any) -> torch.Tensor:
    """Return the loss of ``config.problem_type``, as transformers does."""
    from torch.nn import functional as F

    problem = config.problem_type
    if problem is None:
        several = "multi_label_classification" if labels.is_floating_point() else "single_label_classification"
        problem = "regression" if config.num_labels == 1 else several
    match problem:
        case "regression":
            return F.mse_loss(logits.flatten(), labels.flatten())
        case "single_label_classification":
            return F.cross_entropy(logits, labels.view(-1))
        case _:
            return F.binary_cross_entropy_with_logits(logits, labels)

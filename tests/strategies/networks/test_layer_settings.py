"""What a configuration says of each layer goes with the layer, and ids of tokens go with the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from autoopt.objectives.tasks import open_task
from autoopt.strategies import saving
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.compression.layer_drop import LayerDrop
from autoopt.strategies.compression.vocabulary_pruning import VocabularyPruning
from autoopt.strategies.networks.architectures import layers, set_layers
from autoopt.strategies.probe import answers
from tests import tiny, tiny_decoder, zoo

LAYERS = 6
KEPT = [0, 2, 5]
_WINDOW: Mapping[str, Any] = MappingProxyType({"sliding_window": 4, "num_key_value_heads": 2, "head_dim": 8})
DECODERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "gemma2": _WINDOW,
        "gemma3_text": _WINDOW,
        "qwen2": {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2, "num_key_value_heads": 2},
        "qwen3": {**_WINDOW, "use_sliding_window": True, "max_window_layers": 2},
        "smollm3": {"num_key_value_heads": 2, "no_rope_layer_interval": 2, "pad_token_id": 0},
        "llama": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    }
)


def decoder(kind: str) -> Candidate:
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "intermediate_size": 48}
    config = AutoConfig.for_model(
        kind,
        **sizes,
        **{"initializer_range": 0.3, "vocab_size": len(tiny_decoder.tokenizer()), **DECODERS[kind]},
    )
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.config.architectures = [type(model).__name__]
    return replace(tiny_decoder.candidate(), model=model.eval())


def encoder(kind: str) -> Candidate:
    settings = {**zoo.ENCODERS[kind], "global_attn_every_n_layers": 2} if kind == "modernbert" else zoo.ENCODERS[kind]
    return tiny.candidate(kind, layers=LAYERS, **settings)


def logits(model: Any) -> torch.Tensor:
    """(1, ...) for a text that is longer than a window."""
    ids = torch.randint(5, 25, (1, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits  # type: ignore[no-any-return]


def skipping(candidate: Candidate, kept: Sequence[int]) -> Any:
    """A copy of the model in which the other layers return what they are given."""

    def skip(_: Any, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        states = given[0] if given else named["hidden_states"]
        return (states, *output[1:]) if isinstance(output, tuple) else states

    model = candidate.copy_model()
    for place, layer in enumerate(layers(model)):
        if place not in kept:
            layer.register_forward_hook(skip, with_kwargs=True)
    return model


@pytest.mark.parametrize("kind", [*DECODERS, "modernbert", "mpnet", "deberta-v2", "longformer", "bert"])
def test_the_layers_that_are_left_work_as_before(kind: str, tmp_path: Path) -> None:
    given = decoder(kind) if kind in DECODERS else encoder(kind)
    expected = logits(skipping(given, KEPT))
    model: Any = given.copy_model()
    types = getattr(model.config, "layer_types", None)
    set_layers(model, [layers(model)[place] for place in KEPT])
    torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
    assert getattr(model.config, "layer_types", None) == (None if types is None else [types[n] for n in KEPT])
    numbers = [part.layer_idx for part in model.modules() if isinstance(vars(part).get("layer_idx"), int)]
    assert set(numbers) <= set(range(len(KEPT)))
    saving.save(replace(given, model=model), tmp_path / "saved")
    torch.testing.assert_close(logits(saving.load(tmp_path / "saved", open_task=open_task).model), expected)


def test_windows_differ_between_the_layers_that_are_tested() -> None:
    """Else the test above could not fail."""
    for kind in ("gemma2", "gemma3_text", "qwen2", "qwen3"):
        types = decoder(kind).model.config.layer_types
        assert len({types[place] for place in KEPT}) == 2
        assert [types[place] for place in KEPT] != types[: len(KEPT)] or kind == "qwen2"


@pytest.mark.parametrize("kind", ["gemma2", "gemma3_text", "qwen2", "modernbert"])
def test_layers_are_dropped_twice(kind: str, tmp_path: Path) -> None:
    given = decoder(kind) if kind in DECODERS else encoder(kind)
    once = LayerDrop(keep=0.67, choose="spread").apply(given, effort=0, seed=0)
    twice = LayerDrop(keep=0.5, choose="spread").apply(once, effort=0, seed=0)
    assert twice.model.config.num_hidden_layers == 2
    saving.save(twice, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    torch.testing.assert_close(logits(loaded.model), logits(twice.model))
    torch.testing.assert_close(logits(twice.model), logits(skipping(given, [0, LAYERS - 1])), rtol=1e-5, atol=1e-5)


def renumbered(candidate: Candidate, padding: int) -> Candidate:
    """The candidate with its padding token at another number, in tokenizer, weights and configuration."""
    from transformers import BertTokenizer

    words = list(tiny.VOCABULARY)
    words[0], words[padding] = words[padding], words[0]
    return replace(candidate, tokenizer=BertTokenizer({word: number for number, word in enumerate(words)}))


@pytest.mark.parametrize("kind", ["roberta", "mpnet", "bert"])
def test_padding_has_another_number_in_a_smaller_vocabulary(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    padding = 1 if kind == "mpnet" else 9  # MPNet's is fixed.
    config = tiny.model(kind, **zoo.ENCODERS[kind]).config
    config.pad_token_id = padding
    torch.manual_seed(0)
    model: Any = AutoModelForSequenceClassification.from_config(config).eval()  # type: ignore[no-untyped-call]
    model.config.architectures = [type(model).__name__]
    given = renumbered(replace(tiny.candidate(), model=model, unlabeled=()), padding)
    given = replace(given, train=tuple(e for e in given.train if e.label == 1))  # Many words are not used.
    pruned = VocabularyPruning.model_construct(common=0).apply(given, effort=0, seed=0)
    assert len(pruned.tokenizer) < len(given.tokenizer)
    assert pruned.model.config.pad_token_id == pruned.tokenizer.pad_token_id
    saving.save(pruned, tmp_path / "saved")
    loaded = saving.load(tmp_path / "saved", open_task=open_task)
    before, after, again = (torch.cat(answers(case, given.train, 8)) for case in (given, pruned, loaded))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again, after, rtol=0, atol=0)

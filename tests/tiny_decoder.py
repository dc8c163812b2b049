"""A decoder so small that everything about it takes milliseconds, and what its task should make of a text, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from autoopt.objectives.tasks.causal_lm.reading import Form
from autoopt.objectives.tasks.causal_lm.task import CausalLM
from autoopt.strategies.candidate import Candidate, Example

END = "<|endoftext|>"
START = "<|start|>"
CORPUS = (
    "the cat sat on the mat .\n",
    "the dog sat on the log .\n",
    "a bird sang in the tree all day long .\n",
    "no man is an island , entire of itself .\n",
)


@cache
def _trained() -> str:
    from tokenizers import ByteLevelBPETokenizer

    bytes_and_pairs = ByteLevelBPETokenizer(add_prefix_space=False)
    bytes_and_pairs.train_from_iterator(
        CORPUS, vocab_size=300, min_frequency=1, special_tokens=[END, START], show_progress=False
    )
    return str(bytes_and_pairs.to_str())


def tokenizer(*, start: bool = False, pad: bool = True) -> Any:
    """Of bytes and pairs of bytes; with ``start`` it puts a token before every text, without ``pad`` it has none."""
    from tokenizers import Tokenizer
    from tokenizers.processors import ByteLevel, Sequence, TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer.from_str(_trained())
    if start:
        template = TemplateProcessing(single=f"{START} $A", special_tokens=[(START, made.token_to_id(START))])
        made.post_processor = Sequence([ByteLevel(trim_offsets=False), template])
    given = {"pad_token": END} if pad else {}
    made_class: Any = PreTrainedTokenizerFast
    return made_class(tokenizer_object=made, eos_token=END, bos_token=START if start else None, **given)


def model(kind: str = "llama", *, seed: int = 0, tied: bool = True, positions: int = 128, **settings: Any) -> Any:
    """A random model of this architecture: two layers of width 32."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"intermediate_size": 48, "num_key_value_heads": 2} if kind == "llama" else settings
    config = AutoConfig.for_model(
        kind,
        **sizes,
        **more,
        vocab_size=len(tokenizer()),
        max_position_embeddings=positions,
        bos_token_id=None,
        eos_token_id=0,
        tie_word_embeddings=tied,
        initializer_range=0.3,  # Far from zero, so that no two tokens are equally likely.
    )
    torch.manual_seed(seed)
    made = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    made.config.architectures = [type(made).__name__]  # As it is in any model that was loaded.
    return made.eval()


def save(folder: Path, kind: str = "llama", *, start: bool = False, **settings: Any) -> Path:
    """Write model and tokenizer as a person would give them."""
    pad = settings.pop("pad", True)
    model(kind, **settings).save_pretrained(folder)
    tokenizer(start=start, pad=pad).save_pretrained(folder)
    return folder


def candidate(
    kind: str = "llama",
    *,
    seed: int = 0,
    max_length: int = 16,
    form: Form = Form.TEXT,
    start: bool = False,
    positions: int = 128,
) -> Candidate:
    """The tiny model with its tokenizer and its task, untrained."""
    return Candidate(
        model=model(kind, seed=seed, positions=positions),
        tokenizer=tokenizer(start=start),
        task=CausalLM(max_length=max_length, form=form),
    )


def examples(texts: Sequence[str]) -> list[Example]:
    """Running text."""
    return [Example(text) for text in texts]


def _documents(texts: Sequence[str]) -> list[str]:
    """What is tokenized as one text: lines up to one that does not end."""
    found, open_lines = [], ""
    for text in texts:
        open_lines += text
        if text and not text.endswith("\n"):
            found.append(open_lines)
            open_lines = ""
    return [*found, *([open_lines] if open_lines else [])]


def packed(texts: Sequence[str], tokenizer: Any) -> list[int]:
    """The tokens of running text, one document after the other."""
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    return [
        token
        for text in _documents(texts)
        for token in [*start, *tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    ]


def loss(model: Any, ids: Sequence[int], first: int) -> float:
    """The loss of the tokens from ``first`` on, one after the other, each from a fresh pass over those before it."""
    import torch

    total = 0.0
    for place in range(first, len(ids)):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids[:place]])).logits[0, -1].double()
        total -= float(logits.log_softmax(-1)[ids[place]])
    return total

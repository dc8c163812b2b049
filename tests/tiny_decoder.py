"""A decoder so small that everything about it takes milliseconds, with a tokenizer that knows every byte."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

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
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END, bos_token=START if start else None, **given)


def model(kind: str = "llama", *, seed: int = 0, tied: bool = True, positions: int = 128) -> Any:
    """A random model of ``model_folder.DECODERS``: two layers of width 32."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"intermediate_size": 48, "num_key_value_heads": 2} if kind == "llama" else {}
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
    return AutoModelForCausalLM.from_config(config).eval()  # type: ignore[no-untyped-call]


def save(folder: Path, kind: str = "llama", *, start: bool = False, **settings: Any) -> Path:
    """Write model and tokenizer as a person would give them."""
    pad = settings.pop("pad", True)
    model(kind, **settings).save_pretrained(folder)
    tokenizer(start=start, pad=pad).save_pretrained(folder)
    return folder

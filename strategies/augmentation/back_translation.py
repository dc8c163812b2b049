"""Add copies of texts translated to another language and back (Sennrich et al. 2016, "Improving NMT").

Applied to text classification as by Yu et al. (2018).
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Annotated, Any, ClassVar

from autoopt.strategies.candidate import Candidate, Example
from autoopt.strategies.errors import ModelError, UsageError
from autoopt.strategies.knobs import Choice
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.system import measurement_gate

BATCH_SIZE = 16
MAX_TOKENS = 256
"""Maximum length of a text and of its translation."""


class BackTranslation(Strategy):
    """Paraphrases by two translation models; labels are kept.

    Worth it if examples are few and the translations are good. A text takes a second or more on a CPU; each worker
    caches its translations.

    - ``there``, ``back``: folders or Hub names of translation models, such as ``Helsinki-NLP/opus-mt-en-de`` and
      ``Helsinki-NLP/opus-mt-de-en``.
    - ``share``: share of the examples to paraphrase.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text"})
    requires: ClassVar[frozenset[str]] = frozenset({"there", "back"})
    reads: ClassVar[frozenset[str]] = frozenset({"there", "back"})

    there: str = ""
    back: str = ""
    share: Annotated[float, Choice(0.3, 1.0)] = 1.0

    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        if effort == 0:
            return candidate.evolve("back-translation, none made")
        if not self.there or not self.back:
            raise UsageError("back_translation needs two translation models; name them by 'there' and 'back'")
        count = max(1, round(self.share * len(candidate.train)))
        indices = sorted(random.Random(seed).sample(range(len(candidate.train)), count))
        examples = [candidate.train[index] for index in indices]
        texts = tuple(dict.fromkeys(text for example in examples for text in (example.text, example.text_pair) if text))
        paraphrases = dict(zip(texts, translate(self.back, translate(self.there, texts)), strict=True))
        copies = [example.edited(lambda text: paraphrases.get(text, text)) for example in examples]
        added = tuple(copy for copy, example in zip(copies, examples, strict=True) if _is_new(copy, example))
        return candidate.evolve(f"back-translation, {len(added)} examples added", train=(*candidate.train, *added))


def _is_new(copy: Example, example: Example) -> bool:
    """Whether the copy has text and differs from the example."""
    texts = [text for text in (copy.text, copy.text_pair) if text is not None]
    return all(text.strip() for text in texts) and copy != example


@lru_cache(maxsize=8)
def translate(name: str, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Translate each text by greedy search. Raises ``ModelError`` if the model cannot be opened."""
    import torch

    model, tokenizer = _open_model(name)
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    translations = list(texts)
    for start in range(0, len(order), BATCH_SIZE):
        indices = order[start : start + BATCH_SIZE]
        batch = tokenizer(
            [texts[index] for index in indices],
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
        )
        inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
        with torch.inference_mode(), measurement_gate.compute_step():
            ids = model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False, num_beams=1)
        for index, text in zip(indices, tokenizer.batch_decode(ids, skip_special_tokens=True), strict=True):
            translations[index] = text
    return tuple(translations)


def _open_model(name: str) -> tuple[Any, Any]:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        model = AutoModelForSeq2SeqLM.from_pretrained(name, trust_remote_code=False, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"back_translation cannot open the translation model '{name}': {error}") from error
    return model.eval(), tokenizer

"""Copies of texts, translated into another language and back (Sennrich et al. 2016, "Improving NMT").

As an augmentation of classifiers after Yu et al. (2018).
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
LONGEST = 256
"""In tokens, of a text and of its translation."""


class BackTranslation(Strategy):
    """Says the same in other words, so labels stay; the better the two models, the truer that is.

    ``there`` and ``back`` are any two translation models, folders or names of a hub, such as
    ``Helsinki-NLP/opus-mt-en-de`` and ``Helsinki-NLP/opus-mt-de-en``. A second or more for each text on a CPU; what
    was translated is remembered by each worker.

    ``share``: of the examples of which a copy is made. Worth it where examples are few.
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
        chosen = sorted(random.Random(seed).sample(range(len(candidate.train)), count))
        examples = [candidate.train[place] for place in chosen]
        texts = tuple(dict.fromkeys(text for one in examples for text in (one.text, one.text_pair) if text))
        said = dict(zip(texts, translated(self.back, translated(self.there, texts)), strict=True))
        made = [example.edited(lambda text: said.get(text, text)) for example in examples]
        kept = tuple(copy for copy, example in zip(made, examples, strict=True) if _differs(copy, example))
        return candidate.evolve(f"back-translation, {len(kept)} examples added", train=(*candidate.train, *kept))


def _differs(copy: Example, example: Example) -> bool:
    """True where it says something, and not just the same."""
    texts = [text for text in (copy.text, copy.text_pair) if text is not None]
    return all(text.strip() for text in texts) and copy != example


@lru_cache(maxsize=8)
def translated(name: str, texts: tuple[str, ...]) -> tuple[str, ...]:
    """What the model makes of each text, by greedy search. Raises ``ModelError`` where it cannot be opened."""
    import torch

    model, tokenizer = _opened(name)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    found = list(texts)
    for start in range(0, len(order), BATCH_SIZE):
        places = order[start : start + BATCH_SIZE]
        batch = tokenizer(
            [texts[place] for place in places], return_tensors="pt", padding=True, truncation=True, max_length=LONGEST
        )
        inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
        with torch.inference_mode(), measurement_gate.compute_step():
            ids = model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False, num_beams=1)
        for place, text in zip(places, tokenizer.batch_decode(ids, skip_special_tokens=True), strict=True):
            found[place] = text
    return tuple(found)


def _opened(name: str) -> tuple[Any, Any]:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        model = AutoModelForSeq2SeqLM.from_pretrained(name, trust_remote_code=False, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"back_translation cannot open the translation model '{name}': {error}") from error
    return model.eval(), tokenizer

"""Classes with a task's head for architectures for which transformers has none, made of its own parts."""

from __future__ import annotations

from functools import cache
from typing import Any

ENCODER_ALONE = "EncoderForSequenceClassification"
"""End of the name of a class of the encoder of an architecture of encoder and decoder, such as T5."""
_ENDINGS = (ENCODER_ALONE, "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")


def class_name(model_type: str, ending: str) -> str:
    """Return the name of the class with a head such as ``ForTokenClassification``; empty for an unknown model type."""
    from transformers import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:
        return ""
    return CONFIG_MAPPING[model_type].__name__.removesuffix("Config") + ending


def model_class(model_type: str, architecture: str) -> Any:
    """Return the class ``architecture`` of transformers, else one made of its generic head and its base model.

    None if neither exists.
    """
    import transformers

    known = getattr(transformers, architecture, None)
    if isinstance(known, type) and issubclass(known, transformers.PreTrainedModel):
        return known
    ending = next((ending for ending in _ENDINGS if architecture == class_name(model_type, ending)), None)
    return None if ending is None else _made(model_type, architecture, ending)


@cache
def _made(model_type: str, architecture: str, ending: str) -> Any:
    import transformers
    from transformers import CONFIG_MAPPING, MODEL_MAPPING, PreTrainedModel, modeling_layers

    if ending == ENCODER_ALONE:  # transformers has the encoder alone with a head for each token; ours pools.
        per_token = getattr(transformers, class_name(model_type, "ForTokenClassification"), None)
        return per_token and type(architecture, (per_token,), {"__module__": __name__})
    config = CONFIG_MAPPING[model_type]
    base: Any = MODEL_MAPPING.get(config, None)
    if not isinstance(base, type):
        return None
    shared = next(part for part in base.__mro__ if PreTrainedModel in part.__bases__)
    generic = getattr(modeling_layers, f"Generic{ending}")
    return type(architecture, (generic, shared), {"__module__": __name__, "config_class": config})

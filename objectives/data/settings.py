"""Settings of an experiment's data: source, columns and splits."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator

from autoopt.objectives import units
from autoopt.strategies.errors import UsageError


def _amount(value: Any) -> int | float:
    """Parse a number of examples, or a share between 0 and 1."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    try:
        share = units.parse_quantity(value, units.SHARE) if isinstance(value, str | float) else 0.0
    except UsageError as error:
        raise ValueError(str(error)) from None
    if not 0 < share < 1:
        raise ValueError(f"'{value}' is no size of a split; write a number of examples, or a share such as 15%")
    return share


Amount = Annotated[
    int | float,
    BeforeValidator(_amount),
    PlainSerializer(lambda value: value, return_type=int | float),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                {"type": "string", "pattern": r"^\s*[0-9.]+\s*%\s*$"},
            ],
            "description": "a number of examples, or a share such as 0.15 or 15%",
        }
    ),
]


def _tolerance(value: Any) -> float:
    """Parse a share from 0, below 1."""
    try:
        share = units.parse_quantity(value, units.SHARE) if isinstance(value, str | int | float) else 1.0
    except UsageError as error:
        raise ValueError(str(error)) from None
    if share >= 1:
        raise ValueError(f"'{value}' is no share below 1; write one such as 1%, or 0 to refuse every bad row")
    return share


Tolerance = Annotated[
    float,
    BeforeValidator(_tolerance),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
                {"type": "string", "pattern": r"^\s*[0-9.]+\s*%\s*$"},
            ],
            "description": "a share such as 0.01 or 1%",
        }
    ),
]


def _samples(value: Any) -> Any:
    """Refuse what is neither a number of examples, ``auto`` nor ``all``."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not is_count and value not in ("auto", "all"):
        raise ValueError(f"'{value}' is no number of examples; write one, or 'auto' or 'all'")
    return value


Samples: TypeAlias = Annotated[
    int | str,
    BeforeValidator(_samples),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"enum": ["auto", "all"]}]}),
]
"""Most examples of a split."""


class SplitSettings(BaseModel):
    """Sizes of the splits, each a number of examples or a share; by default training has all that remains.

    Of splits given as files of their own, and of unlabeled texts, a sample of this size is drawn; by default all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    train: Amount | None = None
    validation: Amount | None = None
    test: Amount | None = None
    unlabeled: Amount | None = None
    seed: Annotated[int, Field(ge=0)] = 0


class DataSettings(BaseModel):
    """Location of the data: one ``source`` to split, or ``train`` with optional ``validation`` and ``test``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: str | None = None
    """A file, a folder, ``package://name/path``, or a dataset's name on the Hub.

    A folder or a dataset may be followed by ``:CONFIGURATION`` and ``@SPLIT``.
    """
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    unlabeled: str | None = None
    text: str | None = None
    """Column of the texts; by default, as for the next two, the one with a usual name."""
    text_pair: str | None = None
    label: str | None = None
    label_separator: Annotated[str, Field(min_length=1)] | None = None
    """Separator of the classes in a cell that names several of them, such as ``|``."""
    tolerate: Tolerance = 0.01
    """Share of the rows of a source that may be unusable: these are left out and listed; more are refused."""
    rare: Literal["error", "drop", "keep"] = "error"
    """What happens to a class with fewer examples than splits are drawn: it is refused, left out, or only trained."""
    max_classes: Annotated[int, Field(ge=2)] = 1000
    """Maximum number of classes; more are taken for a column of something else."""
    split: SplitSettings = SplitSettings()
    max_train_samples: Samples = "auto"
    """Most training examples that a search uses: a number, ``all``, or ``auto``: all, or with ``search.timeout`` as
    many as it has time for. The next two are for the validation and the test examples."""
    max_validation_samples: Samples = "auto"
    max_test_samples: Samples = "auto"
    max_length: Annotated[int, Field(ge=4, le=8192)] = 128
    """Maximum length in tokens; longer texts are truncated."""

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        if self.source and (self.train or self.validation or self.test):
            raise ValueError("give either 'source', which is split, or 'train', 'validation' and 'test'; not both")
        if not self.source and not self.train:
            raise ValueError("there is no training data; give 'source' (a file or folder that is split) or 'train'")
        return self

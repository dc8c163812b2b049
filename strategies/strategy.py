"""Base class of strategies: validated settings and what they do to a candidate."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from autoopt.strategies.knobs import Choice, Float, Int, Knob

if TYPE_CHECKING:
    from autoopt.strategies.candidate import Candidate
    from autoopt.strategies.situation import Situation


class Family(StrEnum):
    """The five families, in the order in which a recipe applies them."""

    UNSUPERVISED = "unsupervised"
    AUGMENTATION = "augmentation"
    ADAPTATION = "adaptation"
    COMPRESSION = "compression"
    ACCELERATION = "acceleration"


class Strategy(BaseModel, ABC):
    """One way to change a candidate.

    A subclass is a frozen pydantic model that refuses unknown fields. A field annotated with a knob is searched; any
    other field is a setting. The file's name is the strategy's name and its folder is its family.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    needs: ClassVar[frozenset[str]] = frozenset()
    """Conditions under which it is offered. Of the study: ``cpu``, ``gpu``, ``unlabeled`` (texts), ``several bases``
    (base models of different sizes). Of its task: ``head`` (one of its own, with few outputs), ``one pass`` (an
    answer takes one forward pass), ``untied embeddings`` (they are not the output matrix too), ``writes`` (it writes
    text). Of its examples: ``labels``, ``text`` (words may be edited), ``single`` (no pairs), ``classes`` (one for
    each text), ``imbalanced`` (classes of different sizes), ``whole`` (one answer for each text or pair), ``tags``
    (one for each word), ``spans`` (answers in a text) and ``unanswerable`` (some have none). Of the model: the keys
    of ``model_needs.MODEL_NEEDS``. Of the recipe: ``teacher`` (a strategy that learns the task comes before it),
    ``cut`` (a strategy that cuts the architecture does), ``layers`` (more than one layer remains)."""
    needs_mask: ClassVar[bool] = False
    """Whether the tokenizer has to have a mask token; for a model without one it is withheld."""
    after: ClassVar[frozenset[str]] = frozenset()
    """Strategies of the same family that are applied before it."""
    packages: ClassVar[frozenset[str]] = frozenset()
    """Optional packages that it imports."""
    requires: ClassVar[frozenset[str]] = frozenset()
    """Settings without which it is not offered."""
    reads: ClassVar[frozenset[str]] = frozenset()
    """Settings that name files or folders, whose content is part of the stage's address."""
    other_base: ClassVar[str] = ""
    """Setting that names another base model of the study, which teaches; empty if there is none."""
    excludes: ClassVar[frozenset[str]] = frozenset()
    """Strategies that cannot be in the same recipe; one of the two has to name the other."""
    former_knobs: ClassVar[frozenset[str]] = frozenset()
    """Settings that earlier versions searched: an experiment file that narrows one is read, and the default used."""
    standard: ClassVar[bool] = False
    """Whether it works well on most tasks; the first recipes of a search consist of such strategies."""
    cuts: ClassVar[bool] = False
    """Whether it removes parts of the architecture, so that recovery training helps."""
    cut_share: ClassVar[float] = 1.0
    """Share of a layer's time that is proportional to ``keep``, if it cuts."""
    replaces: ClassVar[bool] = False
    """Whether its result is no network any more, but a student that reads texts: nothing else of a recipe compresses or
    accelerates then. If it ``learns``, from the labels alone, a recipe has no trunk either."""
    adaptive: ClassVar[bool] = False
    """Whether the shapes depend on the weights. Costs are then measured again after training; at effort 0 it returns
    shapes of about the same cost."""
    recovers: ClassVar[bool] = False
    """Whether it trains after the cuts; it is applied after all other strategies of its family."""
    learns: ClassVar[bool] = False
    """Whether it learns the task, as every adaptation that trains does; a recipe needs one such strategy."""
    trains: ClassVar[bool] = False
    """Whether it runs an optimizer on the model."""

    name: ClassVar[str]
    family: ClassVar[Family]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        *_, family, name = cls.__module__.split(".")
        if family in Family.__members__.values():
            cls.name, cls.family = name, Family(family)
            cls.learns = cls.learns or (cls.trains and cls.family is Family.ADAPTATION)

    @abstractmethod
    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        """Return the changed candidate; the argument is not modified.

        Called once for each stage of a trial. ``effort`` in [0, 1] scales how much is trained; 0 trains nothing and
        need only give the right shapes, so it must be fast. The same candidate, settings, effort and seed give the
        same result on the same kind of machine. Raises ``Diverged`` if a loss is not finite.
        """

    @classmethod
    def reshape(cls, model: Any, edit: Mapping[str, Any]) -> Any:
        """Return a freshly built model with the shapes that ``edit`` describes; weights are loaded afterwards.

        It may be changed in place.

        Called when a saved candidate is loaded, once for each edit that the strategy recorded. Only a change that the
        Hugging Face configuration cannot express records one.
        """
        raise NotImplementedError(f"{cls.__name__} records no edits")

    def layers_left(self, layers: int) -> int:
        """Return how many of ``layers`` layers remain."""
        return layers

    def effect(self, situation: Situation) -> Strategy | None:  # noqa: ARG002
        """Return the strategy with its settings as they act: equal if two do the same; None if it changes nothing."""
        return self

    @classmethod
    def is_stored(cls) -> bool:
        """Return whether its result is expensive enough for the stage store."""
        return cls.trains or cls.adaptive

    @classmethod
    def reshapes(cls) -> bool:
        """Return whether it may change the model's shape, and with it the costs of serving."""
        return cls.family in (Family.COMPRESSION, Family.ACCELERATION) and not cls.recovers

    @classmethod
    def knobs(cls) -> dict[str, Knob]:
        """Return the knob of each searched field, in the order of declaration."""
        knobs_by_field = {}
        for field, info in cls.model_fields.items():
            for annotation in info.metadata:
                if isinstance(annotation, Int | Float | Choice):
                    knobs_by_field[field] = annotation
        return knobs_by_field

    @classmethod
    def summary(cls) -> str:
        """Return the first line of the file's docstring."""
        import sys

        return (sys.modules[cls.__module__].__doc__ or "").strip().split("\n")[0]

    @classmethod
    def paper(cls) -> str:
        """Return the paper that the summary names: authors, year, short title."""
        citation = re.search(r"\(([^()]*\b(?:19|20)\d\d\b.*)\)\.$", cls.summary())
        return citation[1] if citation else ""

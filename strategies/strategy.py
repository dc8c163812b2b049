"""What a strategy is: its validated settings, with what it does to a candidate."""

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
    """Where it is offered. Of the study: ``encoder``, ``decoder``, ``cpu``, ``gpu``, ``unlabeled`` (texts), and of its
    examples ``labels``, ``text`` (words may be edited), ``single`` (no pairs), ``classes`` (one for each text),
    ``tags`` (one for each word), ``spans`` (answers in a text) and ``unanswerable`` (some have none). Of the recipe:
    ``teacher`` (a strategy that learns the task comes before it), ``cut`` (one that cuts the architecture does),
    ``layers`` (more than one layer stays)."""
    after: ClassVar[frozenset[str]] = frozenset()
    """Strategies of the same family that come first where both are in a recipe."""
    packages: ClassVar[frozenset[str]] = frozenset()
    """Packages that it imports and that autoopt does not install by itself."""
    requires: ClassVar[frozenset[str]] = frozenset()
    """Settings that a person has to give before it is offered."""
    reads: ClassVar[frozenset[str]] = frozenset()
    """Settings that name files or folders; what is in them decides the result as the setting itself does."""
    excludes: ClassVar[frozenset[str]] = frozenset()
    """Strategies that cannot be in the same recipe; it is enough that one of two names the other."""
    standard: ClassVar[bool] = False
    """True where it works well nearly everywhere: the first recipes of a search are made of such."""
    cuts: ClassVar[bool] = False
    """True where it removes a part of the architecture, so that recovery training is worth something."""
    cut_share: ClassVar[float] = 1.0
    """Of a layer's time, the share that falls in proportion to ``keep`` where it cuts."""
    adaptive: ClassVar[bool] = False
    """True where the shapes that it gives depend on the weights: what serving costs is then measured once more after
    training, and at effort 0 it gives shapes of about that cost."""
    recovers: ClassVar[bool] = False
    """True where it trains after the cuts: it is applied after all other strategies of its family."""
    learns: ClassVar[bool] = False
    """True where it learns the task, so that a recipe needs no strategy of the adaptation family; those all do."""
    trains: ClassVar[bool] = False
    """True where it runs an optimizer on the model."""

    name: ClassVar[str]
    family: ClassVar[Family]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        *_, family, name = cls.__module__.split(".")
        if family in Family.__members__.values():
            cls.name, cls.family = name, Family(family)
            cls.learns = cls.learns or cls.family is Family.ADAPTATION

    @abstractmethod
    def apply(self, candidate: Candidate, *, effort: float, seed: int) -> Candidate:
        """Return the changed candidate; the one that was given stays as it was.

        Called once for each stage of a trial. ``effort`` in [0, 1] scales how much is trained; 0 trains nothing and
        need only give the right shapes, so it must be fast. The same candidate, settings, effort and seed give the
        same result on the same kind of machine. Raises ``Diverged`` where a loss is not finite.
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
        """How many of so many layers stay."""
        return layers

    @classmethod
    def is_stored(cls) -> bool:
        """True where its result costs enough to be kept in the stage store: it trains, or tries much on the weights."""
        return cls.trains or cls.adaptive

    @classmethod
    def reshapes(cls) -> bool:
        """True where what serving costs depends on it: the model that it leaves may have another shape."""
        return cls.family in (Family.COMPRESSION, Family.ACCELERATION) and not cls.recovers

    @classmethod
    def knobs(cls) -> dict[str, Knob]:
        """The searched fields with where they are searched, in the order of their declaration."""
        found = {}
        for field, info in cls.model_fields.items():
            for note in info.metadata:
                if isinstance(note, Int | Float | Choice):
                    found[field] = note
        return found

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring of the file."""
        import sys

        return (sys.modules[cls.__module__].__doc__ or "").strip().split("\n")[0]

    @classmethod
    def paper(cls) -> str:
        """The work that it is after, as its summary names it: authors, year, short title."""
        named = re.search(r"\(([^()]*\b(?:19|20)\d\d\b.*)\)\.$", cls.summary())
        return named[1] if named else ""

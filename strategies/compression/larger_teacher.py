"""Distil from a larger base model, trained as the trunk is (Turc et al. 2019, "Well-read students learn better")."""

from __future__ import annotations

from typing import ClassVar

from autoopt.strategies.compression.distillation import Distillation


class LargerTeacher(Distillation):
    """Distillation whose teacher is a larger base model of the study, trained by the same strategies as the trunk.

    Needs no cut: a small base model learns from a large one. The teacher reads the texts with its own tokenizer.

    - ``base``: label of the teacher's base model; the largest one of the study by default.
    - ``temperature``, ``weight``, ``learning_rate``, ``epochs``, ``texts``: as in ``distillation``.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"head", "teacher", "whole", "several bases"})
    excludes: ClassVar[frozenset[str]] = frozenset({"distillation", "recovery_finetuning"})
    other_base: ClassVar[str] = "base"
    standard = False

    base: str = ""

"""Bytes of all files of the saved candidate, tokenizer included."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement
from autoopt.strategies.saving import size_bytes


class Size(Cost):
    """What a download or a container image grows by."""

    dimension = units.SIZE
    role = Role.SPACE
    always = True
    default_of_role = True
    exact = True

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        return (Measurement.exact(self.name, float(size_bytes(serving.folder)), "bytes", self.direction),)

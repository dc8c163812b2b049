"""Peak memory of a process that serves the saved model, above the same process without it, in bytes."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.objectives import units
from autoopt.objectives.cost import Cost, Role, Serving
from autoopt.objectives.measurement import Measurement
from autoopt.objectives.timing import memory_process

VERIFICATION_RUNS = 3
"""The peak of large batches differs by some percent from run to run."""


class Memory(Cost):
    """On a GPU, the GPU's memory. Takes some seconds, mostly for imports of the process."""

    dimension = units.SIZE
    role = Role.SPACE
    label = "memory"

    def measure(self, serving: Serving) -> Sequence[Measurement]:
        def measure() -> Measurement:
            runs = VERIFICATION_RUNS if serving.thorough else 1
            return memory_process.measure_memory(serving.folder, serving.target, runs=runs)

        return (serving.once(self.name, measure),)

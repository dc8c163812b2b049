"""Batches of a training, collated ahead: a thread prepares the next one in pinned memory while a GPU computes.

On a CPU a batch is collated when it is needed: a thread would compete with the training for the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from autoopt.strategies.candidate import Batch, Features
from autoopt.strategies.system.devices import Device
from autoopt.strategies.training.batches import chunks, collate


@dataclass(frozen=True)
class LoadedBatch:
    """The examples of one optimizer step, some parts of which may be collated already."""

    examples: list[Features]
    collate: Callable[[Sequence[Features]], Batch]
    part_size: int = 0
    """Size of the parts that ``ready`` has; 0 without it."""
    ready: Future[list[Batch]] | None = None

    def parts(self, size: int) -> Iterator[Batch]:
        """Yield the batch in parts of at most ``size`` examples."""
        if self.ready is not None and size == self.part_size:
            yield from self.ready.result()
        else:  # Nothing was prepared, or memory ran out since and the parts are smaller now.
            yield from map(self.collate, chunks(self.examples, size))


def load(
    batches: Iterator[list[Features]], device: Device, *, part_size: Callable[[int], int], pad_token_id: int
) -> Generator[LoadedBatch, None, None]:
    """Yield the batches in order; with a GPU, prepare the one after each in a thread before it is yielded.

    ``part_size`` returns for a number of examples how many are computed together. Close the iterator if it is not
    exhausted: that ends the thread.
    """

    def collated(examples: Sequence[Features]) -> Batch:
        return collate(examples, pad_token_id=pad_token_id)

    if not device.loads_ahead:
        for examples in batches:
            yield LoadedBatch(examples, collated)
        return

    def prepare(examples: list[Features], size: int) -> list[Batch]:
        return [device.pin(collated(part)) for part in chunks(examples, size)]

    with ThreadPoolExecutor(1, thread_name_prefix="autoopt-loader") as thread:
        following: LoadedBatch | None = None
        for examples in batches:
            size = part_size(len(examples))
            current = following
            following = LoadedBatch(examples, collated, size, thread.submit(prepare, examples, size))
            if current is not None:
                yield current
        if following is not None:
            yield following

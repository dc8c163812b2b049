"""What a worker keeps of a trial that has ended."""

from __future__ import annotations

import sys

import psutil
import pytest

from autoopt.search.trial import execution

CHUNK = 2000
"""Bytes: more than Python's own allocator serves, less than the C library takes from the system piece by piece."""


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is the C library's of Linux")
def test_what_a_trial_took_goes_back_to_the_machine() -> None:
    process = psutil.Process()
    chunks = [bytes(CHUNK) for _ in range(100_000)]
    last = bytes(CHUNK)  # Above all the others, so that what is free below it stays with the C library.
    del chunks
    before = process.memory_info().rss
    execution._release_memory()
    assert before - process.memory_info().rss > 0.8 * 100_000 * CHUNK
    assert last

"""What every test of the suite runs under."""

from __future__ import annotations

import os

from hypothesis import settings

# A shared machine may stall for seconds: no test here is about time unless it says so.
settings.register_profile("autoopt", deadline=None)
settings.load_profile("autoopt")

os.environ["HF_HUB_OFFLINE"] = "1"
# Before torch is imported: several threads that spin while they wait make a busy machine twenty times slower.
os.environ["OMP_NUM_THREADS"] = "1"

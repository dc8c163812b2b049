"""Where the project is, and where the public data sets are that some tests want."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
"""Not a part of the project: a test that wants it is skipped where it is missing."""

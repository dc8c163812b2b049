"""The package needs scikit-learn only to be tested against it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys, warnings
sys.modules["sklearn"] = None  # Importing it now raises ModuleNotFoundError.
warnings.simplefilter("ignore")
import autoopt.objectives, autoopt.search, autoopt.strategies
layers = (autoopt.objectives, autoopt.search, autoopt.strategies)
names = [module.name for layer in layers for module in pkgutil.walk_packages(layer.__path__, layer.__name__ + ".")]
for name in names:
    importlib.import_module(name)
from autoopt.objectives.scoring import bootstrap, scores
import numpy as np
outcomes = np.array([[0, 0], [1, 1], [1, 0]])
for statistic in (scores.macro_f1, scores.matthews, scores.accuracy):
    bootstrap.bootstrap_interval(outcomes, statistic=statistic, seed=0)
print(len(names))
"""


def test_everything_imports_and_scores_without_scikit_learn() -> None:
    process = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=300)
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) > 200

"""What Ray imports in each process of a local cluster before that is given a trial, while the driver does other things.

Imported by Ray, in a worker; an error there is in Ray's log, and the trial imports what is missing.
"""

from __future__ import annotations

import torch  # noqa: F401
from ray import tune  # noqa: F401
from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: F401

from autoopt.search.backends.ray_tune import runner  # noqa: F401
from autoopt.strategies.catalog import catalog

catalog()

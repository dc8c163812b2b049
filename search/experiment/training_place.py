"""Where the trials of an experiment will train, in a line, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from autoopt.search.experiment.sections import ResourcesSection


def training_line(resources: ResourcesSection, gpus: Sequence[str], *, precision: str) -> str:
    """Return where the workers will train if this machine has GPUs of these names; ``precision`` is that of training.

    On a cluster the GPUs are known once the search has connected to it.
    """
    threads = _count(resources.cpus_per_worker, "thread")
    if cluster := os.environ.get("RAY_ADDRESS"):
        return _on_cluster(cluster, resources)
    share = resources.gpu_share(len(gpus))
    if not share or not gpus:
        return f"on the CPU in {precision}, {threads} per worker"
    names = ", ".join(dict.fromkeys(gpus))
    return f"on {_count(len(gpus), 'GPU')} ({names}) in {precision}, {share:g} for each worker, {threads}"


def training_warning(resources: ResourcesSection, gpus: Sequence[str], *, hidden: int = 0) -> str:
    """Return what does not fit between the experiment and the GPUs of this machine; empty if nothing.

    ``hidden`` is the number of GPUs that this machine has and torch does not see.
    """
    if os.environ.get("RAY_ADDRESS"):
        return ""
    share = resources.gpu_share(len(gpus))
    if gpus and share == 0:
        return (
            f"{_count(len(gpus), 'GPU')} ({gpus[0]}) will not be used for training, since "
            "resources.gpus_per_worker is 0; set it to auto"
        )
    if hidden and resources.gpus_per_worker != 0:
        return (
            f"this machine has {_count(hidden, 'GPU')}, but torch sees none and trains on the CPU; install torch for "
            "CUDA, or start the container with access to the GPU"
        )
    if share > len(gpus):
        visible = _count(len(gpus), "GPU") if gpus else "no GPU"
        return f"resources.gpus_per_worker is {share:g}, but torch sees {visible} here; set it to auto"
    if share > 1:
        return f"resources.gpus_per_worker is {share:g}, but a trial trains on one GPU; set it to 1 or less"
    if resources.workers < len(gpus):
        workers, total = resources.workers, len(gpus)
        idle = _count(total - workers, "GPU")
        return f"{idle} of {total} will not be used, since resources.workers is {workers}; set it to {total}"
    return ""


def _on_cluster(cluster: str, resources: ResourcesSection) -> str:
    match resources.gpus_per_worker:
        case "auto":
            workers = _count(resources.workers, "worker")
            return f"on the cluster {cluster}, with the GPUs that it has then shared out among {workers}"
        case 0:
            return f"on the CPUs of the cluster {cluster}"
        case share:
            return f"on the cluster {cluster}, {share:g} GPUs for each worker"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"

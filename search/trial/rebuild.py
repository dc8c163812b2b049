"""Make damaged models of trials again: ``python -m autoopt.search.trial.rebuild STUDY_FOLDER NUMBER ...``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from autoopt.search.paths import StudyFolder
from autoopt.strategies.errors import CorruptArtefact, EnvironmentProblem, ModelError
from autoopt.strategies.saving import verify
from autoopt.strategies.system.devices import gpu_count, training_on, worker_device
from autoopt.strategies.system.processes import exit_with_parent, last_line


def rebuild_damaged(folder: StudyFolder, numbers: Iterable[int], say: Callable[[str], None]) -> None:
    """Build the saved models of these trials again, in a fresh process, as far as they are damaged or gone.

    Stages come from the stage store where they still are there. Raises ``EnvironmentProblem`` if the process fails.
    """
    damaged = []
    for number in numbers:
        if problem := damage_of(folder.model(number)):
            say(f"{problem}; the model of trial {number} is made again")
            damaged.append(number)
    if not damaged:
        return
    command = [sys.executable, "-m", __name__, str(folder.path), *map(str, damaged)]
    log = folder.path / "rebuild.log"
    with log.open("wb") as file, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=file) as process:  # noqa: S603
        try:
            process.wait()  # Before its stdin is closed, which would end it.
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        last = last_line(log.read_text(encoding="utf-8", errors="replace"))
        raise EnvironmentProblem(f"a damaged model could not be made again: {last} (full log: {log})")


def damage_of(model: Path) -> str:
    """Return what is wrong with a saved model; empty if it is intact."""
    try:
        verify(model)
    except (CorruptArtefact, ModelError, OSError) as error:
        return str(error)
    return ""


def main(arguments: Sequence[str]) -> None:
    """Build the models of these trials from their recipes, as their trials did, and save them."""
    import torch

    from autoopt.search.experiment.experiment import load_experiment
    from autoopt.search.trial.execution import read_record
    from autoopt.search.trial.run import build
    from autoopt.search.trial.workspace import Workspace

    folder = StudyFolder(Path(arguments[0]))
    resources = load_experiment(folder.experiment, ()).resources
    torch.set_num_threads(resources.cpus_per_worker)
    with training_on(worker_device(resources.gpu_share(gpu_count()))):
        workspace = Workspace.open(folder)
        for number in map(int, arguments[1:]):
            recipe = read_record(folder.result(number)).recipe
            candidate = workspace.task.tune(build(recipe, workspace)[0], workspace.data.validation)
            workspace.save(candidate, recipe, folder.model(number))


if __name__ == "__main__":
    exit_with_parent()
    main(sys.argv[1:])

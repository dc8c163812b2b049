"""Send what MLflow lacks of a study, such as after an outage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from autoopt.search.paths import Root


@dataclass(frozen=True)
class Sent:
    """What MLflow lacked of a study and has now."""

    trials: int
    versions: int
    """Registered models."""


def send_to_mlflow(name: str, root: Root, say: Callable[[str], None]) -> Sent:
    """Send the ended trials and the verified front of a study to MLflow, as far as it does not have them.

    ``say`` is called with why a model could not be registered. Raises ``UnknownName``, ``StudyLocked`` if the study is
    being searched, and ``EnvironmentProblem`` if MLflow fails.
    """
    from autoopt.search.backends.mlflow_client import reaching
    from autoopt.search.backends.mlflow_runs import Ending, StudyRuns
    from autoopt.search.identity.lock import study_lock
    from autoopt.search.study.assembly import registered_versions
    from autoopt.search.study.outcome import write_front
    from autoopt.search.study.study_view import load_study_view
    from autoopt.search.trial.record import COUNTED

    view = load_study_view(root, name)
    address, database = view.experiment.tracking.address(), view.experiment.storage.address()
    with study_lock(view.folder.lock, study=name, url=database), reaching(address, root):
        runs = StudyRuns(address, root, name, list(view.experiment.base_models))
        trials = sum(runs.write(record) for record in view.records if record.state in COUNTED)
        runs.attach(view.folder.experiment.name, view.folder.experiment.read_text(encoding="utf-8"))
        runs.finish(Ending.FINISHED if view.outcome else Ending.KILLED)
        outcome = view.outcome
        if outcome is None:
            return Sent(trials, 0)
        versions = registered_versions(outcome, view.folder, view.experiment, root, say)
        write_front(replace(outcome, versions={**outcome.versions, **versions}), view.folder.front)
        return Sent(trials, len(set(versions) - set(outcome.versions)))

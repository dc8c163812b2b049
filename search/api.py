"""The Python API: run a search, open a study, load a model. The command line is built upon it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from autoopt.search.paths import Root, default_root

if TYPE_CHECKING:
    import pandas as pd

    from autoopt.search.experiment.experiment import Experiment
    from autoopt.search.space.space import Space
    from autoopt.search.study.lifecycle import Audience
    from autoopt.search.study.outcome import Outcome
    from autoopt.search.study.study_view import StudyView
    from autoopt.search.study.verification import Verified
    from autoopt.search.trial.record import TrialRecord
    from autoopt.strategies.candidate import Candidate

Progress: TypeAlias = "Callable[[Experiment, Space], AbstractContextManager[Audience]]"
"""Opens whatever shows the search as it runs."""


class SilentAudience:
    """An audience that shows nothing."""

    def stage(self, number: int, stage: str) -> None: ...
    def tick(self) -> None: ...
    def observe(self, record: TrialRecord) -> None: ...
    def say(self, message: str) -> None: ...
    def verified(self, model: Verified) -> None: ...


@dataclass(frozen=True)
class SearchResult:
    """A study and its verified front.

    A study that is still running, or was interrupted, has trials but no front yet.
    """

    view: StudyView
    root: Root

    @property
    def study(self) -> str:
        return self.view.name

    @property
    def outcome(self) -> Outcome | None:
        """How the search ended; None until its front was verified once."""
        return self.view.outcome

    @property
    def front(self) -> tuple[Verified, ...]:
        """Verified models within the budgets that no other dominates, best quality first."""
        return self.outcome.models if self.outcome else ()

    @property
    def champion(self) -> Verified | None:
        """The model of the front with the best quality; None if the front is empty."""
        return self.outcome.champion if self.outcome else None

    @property
    def baseline(self) -> TrialRecord | None:
        """Trial 0, the base model fine-tuned in full; None until it is complete."""
        return self.view.baseline

    @property
    def trials(self) -> Sequence[TrialRecord]:
        """All trials, by number."""
        return self.view.records

    @property
    def stopped_because(self) -> str:
        """Why the search ended before the number of trials it was given; empty if it did not."""
        return self.outcome.stopped_because if self.outcome else ""

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per trial: state, feasible, recipe, every measurement, seconds, reason."""
        import pandas as pd

        from autoopt.search.study.outcome import trial_table

        header, rows = trial_table(self.trials)
        return pd.DataFrame(rows, columns=header)

    def pull(self, path: str | Path, *, alias: str = "champion") -> Path:
        """Copy a model of the front into a new folder, checksums verified, and return the folder.

        It comes from the MLflow registry, or from the study's folder if it was never registered. Raises
        ``UnknownName`` if no model has this alias, and ``UsageError`` if the folder is not empty.
        """
        from autoopt.search.backends import mlflow_pull
        from autoopt.strategies.errors import UnknownName, UsageError, did_you_mean
        from autoopt.strategies.saving import verify

        named = self.outcome.named if self.outcome else {}
        if self.outcome is None or alias not in named:
            there = ", ".join(sorted(named)) or "none"
            raise UnknownName(
                f"'{self.study}' has no model '{alias}'{did_you_mean(alias, named) or ';'} there are {there}"
            )
        destination = Path(path).absolute()
        if named[alias] in self.outcome.versions:
            address = self.view.experiment.tracking.address()
            return mlflow_pull.pull(f"{self.study}@{alias}", destination, root=self.root, uri=address)
        if destination.exists():
            raise UsageError(f"{destination} exists; give a folder that does not")
        source = self.view.folder.kept_model(named[alias])
        verify(source)
        shutil.copytree(source, destination)
        return destination


@dataclass(frozen=True)
class LoadedModel:
    """A saved model, ready to answer."""

    candidate: Candidate

    def predict(self, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Answer texts, or pairs of texts: a ``label`` and a ``score`` each, and what else the task gives."""
        task: Any = self.candidate.task
        answers: list[dict[str, Any]] = task.predict(self.candidate, list(texts))
        return answers


def search(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    *,
    overrides: Sequence[str] = (),
    root: str | Path | None = None,
    progress: Progress | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> SearchResult:
    """Run a search, or resume the study of this name, and return its verified front.

    ``experiment`` is an experiment file, the name of a built-in example, or what such a file holds. ``overrides`` are
    ``key.sub=value`` as on the command line. ``root`` is the folder of all studies; the experiment's ``storage.root``,
    ``$AUTOOPT_ROOT`` or ``autoopt-studies`` if not given. ``warn`` is called with doubts about the data.

    Raises ``ExperimentError``, ``DataError`` or ``ModelError`` before anything is created, ``StudyLocked`` if another
    process runs this study, ``EnvironmentProblem`` if the machine or a service does not allow it, and ``TrialError``
    if the baseline or every trial failed.

    >>> result = search("news.yaml", root="studies")
    >>> [model.record.number for model in result.front]
    [0]
    >>> result.champion.measurements["quality"].value > 0.4
    True
    >>> list(result.to_pandas()["state"])
    ['complete']
    >>> load_model(result.pull("champion")).predict(["a0 a1 a2"])[0].keys()
    dict_keys(['label', 'score', 'scores'])
    """
    from autoopt.search.study.assembly import assemble, checked_space, root_of
    from autoopt.search.study.lock import study_lock

    opened = _experiment(experiment, overrides)
    home = root_of(opened, Path(root) if root is not None else None)
    space = checked_space(opened, warn)
    shown = progress(opened, space) if progress else nullcontext(SilentAudience())
    with (
        study_lock(home.study(opened.study).lock),
        shown as audience,
        assemble(opened, home, space, audience) as assembled,
    ):
        assembled.complete()
    return open_study(opened.study, root=home.path)


def open_study(name: str, *, root: str | Path | None = None) -> SearchResult:
    """Open a study to read: finished, interrupted or running. Nothing is created or changed.

    Raises ``UnknownName`` with the studies that there are.
    """
    from autoopt.search.study.study_view import load_study_view

    home = Root(Path(root).absolute()) if root is not None else Root(default_root())
    return SearchResult(load_study_view(home, name), home)


def load_model(path_or_name: str | Path, *, root: str | Path | None = None, uri: str | None = None) -> LoadedModel:
    """Load a pulled folder, or ``name@alias``, ``name/version`` or ``name`` from the MLflow registry.

    ``uri`` is the address of the MLflow server, the one under ``root`` if not given. Raises ``ModelError``,
    ``CorruptArtefact`` if a file is not what was saved, and ``UnknownName``.
    """
    from autoopt.objectives.tasks import open_task
    from autoopt.search.backends import mlflow_pull
    from autoopt.strategies.saving import load

    if Path(path_or_name).is_dir():
        return LoadedModel(load(Path(path_or_name), open_task=open_task))
    home = Root(Path(root).absolute()) if root is not None else Root(default_root())
    with tempfile.TemporaryDirectory() as work:
        folder = mlflow_pull.pull(str(path_or_name), Path(work) / "model", root=home, uri=uri)
        return LoadedModel(load(folder, open_task=open_task))


def _experiment(given: Experiment | Mapping[str, Any] | str | Path, overrides: Sequence[str]) -> Experiment:
    from autoopt.search.experiment.experiment import Experiment, load_experiment, validate
    from autoopt.search.experiment.overrides import apply_overrides
    from autoopt.search.experiment.yaml_file import Document

    if isinstance(given, str | Path):
        return load_experiment(given, overrides)
    data = given.to_json() if isinstance(given, Experiment) else dict(given)
    return validate(apply_overrides(Document("the experiment", data, {}), overrides))

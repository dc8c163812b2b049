"""The Python API: run a search, open a study, load a model. The command line uses it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from autoopt.search.paths import Root, default_root

if TYPE_CHECKING:
    import pandas as pd

    from autoopt.objectives.summary import DataSummary
    from autoopt.search.experiment.experiment import Experiment
    from autoopt.search.space.space import Space
    from autoopt.search.study.lifecycle import Audience
    from autoopt.search.study.outcome import Outcome
    from autoopt.search.study.study_view import StudyView
    from autoopt.search.study.verification import Verified
    from autoopt.search.trial.record import TrialRecord
    from autoopt.strategies.candidate import Candidate

Progress: TypeAlias = "Callable[[Experiment, Space], AbstractContextManager[Audience]]"
"""Returns a context manager of the audience that is told how the search proceeds."""


class SilentAudience:
    """Audience that shows nothing."""

    def stage(self, number: int, stage: str) -> None: ...
    def tick(self) -> None: ...
    def observe(self, record: TrialRecord) -> None: ...
    def say(self, message: str) -> None: ...
    def verified(self, model: Verified) -> None: ...


@dataclass(frozen=True, repr=False)
class SearchResult:
    """Trials and verified front of a study.

    A study that is running or was interrupted has trials, but no front until it was verified once.
    """

    view: StudyView
    root: Root

    def __repr__(self) -> str:
        best = self.champion.record.recipe if self.champion else None
        return f"SearchResult({self.study!r}: {len(self.trials)} trials, {len(self.front)} on the front, best: {best})"

    @property
    def study(self) -> str:
        return self.view.name

    @property
    def outcome(self) -> Outcome | None:
        """How the search ended; None if its front was never verified."""
        return self.view.outcome

    @property
    def front(self) -> tuple[Verified, ...]:
        """Verified feasible models that no other dominates, best quality first."""
        return self.outcome.models if self.outcome else ()

    @property
    def champion(self) -> Verified | None:
        """The model of the front with the best quality; None if the front is empty."""
        return self.outcome.champion if self.outcome else None

    @property
    def baseline(self) -> TrialRecord | None:
        """Trial 0, the base model with full fine-tuning only; None if it is not complete."""
        return self.view.baseline

    @property
    def trials(self) -> Sequence[TrialRecord]:
        """All trials in the order of their numbers."""
        return self.view.records

    @property
    def stopped_because(self) -> str:
        """Why the search ended before ``search.trials`` were complete; empty if they are."""
        return self.outcome.stopped_because if self.outcome else ""

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per trial: state, feasible, base model if several, recipe, measurements, seconds, reason."""
        import pandas as pd

        from autoopt.search.study.outcome import trial_table

        header, rows = trial_table(self.trials, list(self.view.experiment.base_models))
        return pd.DataFrame(rows, columns=header)

    def pull(self, path: str | Path, *, alias: str = "champion") -> Path:
        """Copy a model of the front into a folder, verify its checksums, and return the folder.

        The model comes from the MLflow registry, or from the study's folder if it is not registered. Raises
        ``UnknownName`` if no model has this alias, ``UsageError`` if the folder is not empty, and ``CorruptArtefact``.
        """
        from autoopt.search.backends import mlflow_pull
        from autoopt.strategies.errors import UnknownName, did_you_mean
        from autoopt.strategies.saving import verify
        from autoopt.strategies.system.files import whole_folder

        named = self.outcome.named if self.outcome else {}
        if self.outcome is None or alias not in named:
            aliases = ", ".join(sorted(named)) or "none"
            raise UnknownName(
                f"'{self.study}' has no model '{alias}'{did_you_mean(alias, named) or ';'} it has {aliases}"
            )
        destination = Path(path).absolute()
        if named[alias] in self.outcome.versions:
            address = self.view.experiment.tracking.address()
            return mlflow_pull.pull(f"{self.study}@{alias}", destination, root=self.root, uri=address)
        mlflow_pull.check_destination(destination, force=False)
        with whole_folder(destination) as work:
            shutil.copytree(self.view.folder.kept_model(named[alias]), work, dirs_exist_ok=True)
            verify(work)
        return destination


@dataclass(frozen=True)
class LoadedModel:
    """A saved model, ready to predict."""

    candidate: Candidate

    def predict(self, texts: Sequence[str | tuple[str, str]]) -> list[dict[str, Any]]:
        """Return a ``label``, a ``score`` and further results of the task for each text or pair of texts."""
        from autoopt.strategies.errors import UsageError
        from autoopt.strategies.system import measurement_gate

        if isinstance(texts, str):
            raise UsageError(f"predict takes a list of texts, not one text; write predict([{texts[:30]!r}])")
        task: Any = self.candidate.task
        with measurement_gate.serving():
            predictions: list[dict[str, Any]] = task.predict(self.candidate, list(texts))
        return predictions


def search(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    *,
    overrides: Sequence[str] = (),
    root: str | Path | None = None,
    progress: Progress | None = None,
    warn: Callable[[str], None] = lambda _: None,
    describe: Callable[[DataSummary], None] = lambda _: None,
) -> SearchResult:
    """Run a search, or resume the study of this name, and return its verified front.

    ``experiment`` is the path of an experiment file, the name of a built-in example, or the content of such a file, in
    which paths are relative to the current folder. ``overrides`` are ``key.sub=value`` as on the command line. ``root``
    is the folder of all studies, by default ``storage.root``, ``$AUTOOPT_ROOT`` or ``autoopt-studies``. ``warn`` is
    called with possible problems of the data, ``describe`` with what was understood of the data.

    Raises ``ExperimentError``, ``DataError`` or ``ModelError`` before anything is created, ``StudyLocked`` if another
    process runs this study, ``EnvironmentProblem`` if the machine or a service is at fault, and ``TrialError`` if the
    baseline or every trial failed.

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
    from autoopt.search.experiment.time_plan import Deadline
    from autoopt.search.identity.lock import study_lock
    from autoopt.search.study.assembly import assemble, checked, root_of

    deadline = Deadline.starting_now()
    validated = _load_experiment(experiment, overrides)
    deadline = replace(deadline, timeout_s=validated.search.timeout)
    home = root_of(validated, Path(root) if root is not None else None)
    inputs = checked(validated, home, warn, deadline=deadline)
    validated = inputs.experiment
    describe(inputs.summary)
    shown = progress(validated, inputs.space) if progress else nullcontext(SilentAudience())
    with (
        study_lock(home.study(validated.study).lock, study=validated.study, url=validated.storage.address()) as holder,
        shown as audience,
        assemble(inputs, home, audience, holder=holder, deadline=deadline) as assembled,
    ):
        assembled.complete()
    return open_study(validated.study, root=home.path)


def open_study(name: str, *, root: str | Path | None = None) -> SearchResult:
    """Open a finished, interrupted or running study for reading. Nothing is created or changed.

    Raises ``UnknownName``, with the names of the existing studies, if there is none of this name.
    """
    from autoopt.search.study.study_view import load_study_view

    home = Root(Path(root).absolute()) if root is not None else Root(default_root())
    return SearchResult(load_study_view(home, name), home)


def load_model(path_or_name: str | Path, *, root: str | Path | None = None, uri: str | None = None) -> LoadedModel:
    """Load a pulled folder, or ``name@alias``, ``name/version`` or ``name`` from the MLflow registry.

    ``uri`` is the address of the MLflow server, by default the database under ``root``. Raises ``ModelError`` if the
    folder holds no saved model, ``CorruptArtefact`` if a file was changed, and ``UnknownName``.
    """
    from autoopt.objectives.tasks import open_task
    from autoopt.search.backends import mlflow_pull
    from autoopt.strategies.serving import load_for_serving

    if Path(path_or_name).is_dir():
        return LoadedModel(load_for_serving(Path(path_or_name), open_task=open_task))
    home = Root(Path(root).absolute()) if root is not None else Root(default_root())
    with tempfile.TemporaryDirectory() as work:
        folder = mlflow_pull.pull(str(path_or_name), Path(work) / "model", root=home, uri=uri)
        return LoadedModel(load_for_serving(folder, open_task=open_task))


def _load_experiment(source: Experiment | Mapping[str, Any] | str | Path, overrides: Sequence[str]) -> Experiment:
    from autoopt.search.experiment.experiment import Experiment, load_experiment, validate
    from autoopt.search.experiment.overrides import apply_overrides, resolve_paths
    from autoopt.search.experiment.yaml_file import Document

    if isinstance(source, str | Path):
        return load_experiment(source, overrides)
    data = source.to_json() if isinstance(source, Experiment) else resolve_paths(dict(source), Path.cwd())
    return validate(apply_overrides(Document("the experiment", data, {}), overrides))

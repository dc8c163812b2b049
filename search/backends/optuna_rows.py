"""A trial as rows of Optuna's database. It imports Optuna: import it late."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Table, func, select

STUDIES, TRIALS = models.StudyModel.__table__, models.TrialModel.__table__
PARAMETERS, VALUES = models.TrialParamModel.__table__, models.TrialValueModel.__table__
USER, SYSTEM = models.TrialUserAttributeModel.__table__, models.TrialSystemAttributeModel.__table__


class WholeTrials(RDBStorage):
    """Writes a trial in one transaction when it begins and in another when it ends.

    Optuna has one for each attribute, and looks up for each of a recipe's forty parameters whether earlier trials drew
    it from the same set; that a study keeps to its space is seen to when it is opened.
    """

    def begin_trial(self, study: int, trial: FrozenTrial) -> tuple[int, int]:
        """Write a trial that runs; return its number in the study and its identity in the database."""
        with self.engine.begin() as connection:
            # Whoever else begins a trial of this study waits here, so that each number is given once.
            connection.execute(select(STUDIES.c.study_id).where(STUDIES.c.study_id == study).with_for_update())
            count = select(func.count()).where(TRIALS.c.study_id == study).scalar_subquery()
            row = {"study_id": study, "number": count, "state": trial.state, "datetime_start": trial.datetime_start}
            inserted = TRIALS.insert().values(row).returning(TRIALS.c.number, TRIALS.c.trial_id)
            number, identity = connection.execute(inserted).one()
            _insert(connection, PARAMETERS, identity, _parameters(trial))
            _insert(connection, USER, identity, _attributes(trial.user_attrs))
        return number, identity

    def end_trial(
        self,
        identity: int,
        state: TrialState,
        values: Sequence[float] | None,
        user_attrs: Mapping[str, Any],
        system_attrs: Mapping[str, Any],
    ) -> None:
        """Write how it ended. To do so twice is the same as once: the answer to a commit may be lost."""
        with self.engine.begin() as connection:
            before = select(TRIALS.c.state).where(TRIALS.c.trial_id == identity).with_for_update()
            if connection.execute(before).scalar_one().is_finished():
                return
            for table, attributes in ((USER, user_attrs), (SYSTEM, system_attrs)):
                connection.execute(table.delete().where(table.c.trial_id == identity, table.c.key.in_(attributes)))
                _insert(connection, table, identity, _attributes(attributes))
            _insert(connection, VALUES, identity, _values(values or ()))
            ended = {"state": state, "datetime_complete": datetime.now()}
            connection.execute(TRIALS.update().where(TRIALS.c.trial_id == identity).values(ended))


def _insert(connection: Connection, table: Table, identity: int, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(table.insert(), [{"trial_id": identity, **row} for row in rows])


def _parameters(trial: FrozenTrial) -> list[dict[str, Any]]:
    return [
        {
            "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(trial.distributions[name]),
        }
        for name, value in trial.params.items()
    ]


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


def _values(values: Sequence[float]) -> list[dict[str, Any]]:
    stored = map(models.TrialValueModel.value_to_stored_repr, values)
    return [{"objective": place, "value": value, "value_type": kind} for place, (value, kind) in enumerate(stored)]

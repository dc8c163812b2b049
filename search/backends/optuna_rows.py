"""Trials as rows of Optuna's database. Imports Optuna at the top: import this module late.

The tables of ``optuna.storages._rdb.models`` are the only private part of Optuna that this package uses. The tests of
this file read back through Optuna's public API what is written here.
"""

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

from autoopt.strategies.errors import StudyLocked
from autoopt.strategies.system.failpoints import failpoint

STUDIES, TRIALS = models.StudyModel.__table__, models.TrialModel.__table__
PARAMETERS, VALUES = models.TrialParamModel.__table__, models.TrialValueModel.__table__
STUDY_USER = models.StudyUserAttributeModel.__table__
USER, SYSTEM = models.TrialUserAttributeModel.__table__, models.TrialSystemAttributeModel.__table__

HOLDER = "holder"
"""Attribute of a study: the process that searches it."""


class TransactionalStorage(RDBStorage):
    """Writes a trial in one transaction when it starts and in another when it ends.

    Optuna uses one for each attribute, and checks each of a recipe's forty parameters against the distributions of
    earlier trials. That a study keeps to its space is checked once, when it is opened.
    """

    holder: Mapping[str, Any] | None = None
    """The holder that must stand in the study's attributes whenever a trial is written; None if anyone may write."""

    def begin_trial(self, study: str, trial: FrozenTrial) -> int:
        """Write a running trial to the named study and return its number."""
        with self.engine.begin() as connection:
            # The row lock serializes writers of this study, so that each number is assigned once.
            locked = select(STUDIES.c.study_id).where(STUDIES.c.study_name == study).with_for_update()
            study_id = connection.execute(locked).scalar_one()
            self._check_holder(connection, study_id)
            number = select(func.count()).where(TRIALS.c.study_id == study_id).scalar_subquery()
            row = {"study_id": study_id, "number": number, "state": trial.state, "datetime_start": trial.datetime_start}
            inserted = TRIALS.insert().values(row).returning(TRIALS.c.number, TRIALS.c.trial_id)
            assigned, trial_id = connection.execute(inserted).one()
            _insert(connection, PARAMETERS, trial_id, _parameters(trial))
            _insert(connection, USER, trial_id, _attributes(trial.user_attrs))
        return int(assigned)

    def end_trial(
        self,
        study: str,
        number: int,
        state: TrialState,
        values: Sequence[float] | None,
        user_attrs: Mapping[str, Any],
        system_attrs: Mapping[str, Any],
    ) -> None:
        """Write how a trial ended. Idempotent, since the acknowledgement of a commit may be lost.

        Raises ``StudyLocked`` if another driver holds the study now, or ended the trial with another result.
        """
        with self.engine.begin() as connection:
            study_id = connection.execute(select(STUDIES.c.study_id).where(STUDIES.c.study_name == study)).scalar_one()
            of_trial = (TRIALS.c.study_id == study_id) & (TRIALS.c.number == number)
            stored = select(TRIALS.c.trial_id, TRIALS.c.state).where(of_trial).with_for_update()
            trial_id, before = connection.execute(stored).one()
            if before.is_finished():
                if before != state or not _has_attributes(connection, trial_id, user_attrs):
                    raise StudyLocked(
                        f"trial {number} of '{study}' has been ended by another driver with another result "
                        f"({before.name.lower()}), which is kept; run the same command again to go on"
                    )
                return
            self._check_holder(connection, study_id)
            for table, attributes in ((USER, user_attrs), (SYSTEM, system_attrs)):
                connection.execute(table.delete().where(table.c.trial_id == trial_id, table.c.key.in_(attributes)))
                _insert(connection, table, trial_id, _attributes(attributes))
            _insert(connection, VALUES, trial_id, _values(values or ()))
            failpoint("in-tell")
            end = {"state": state, "datetime_complete": datetime.now()}
            connection.execute(TRIALS.update().where(TRIALS.c.trial_id == trial_id).values(end))

    def _check_holder(self, connection: Connection, study_id: int) -> None:
        if self.holder is None:
            return
        of_study = (STUDY_USER.c.study_id == study_id) & (STUDY_USER.c.key == HOLDER)
        holder = json.loads(connection.execute(select(STUDY_USER.c.value_json).where(of_study)).scalar_one())
        if holder != self.holder:
            raise StudyLocked(
                f"this study has been taken over by process {holder['process']} of {holder['user']} on "
                f"{holder['host']} since {holder['since']}; what had been recorded is kept, and that process goes on"
            )


def _has_attributes(connection: Connection, trial_id: int, attributes: Mapping[str, Any]) -> bool:
    rows = connection.execute(select(USER.c.key, USER.c.value_json).where(USER.c.trial_id == trial_id)).all()
    stored = {key: json.loads(value) for key, value in rows}
    # Through JSON, which makes lists of tuples.
    return all(stored.get(key) == json.loads(json.dumps(value)) for key, value in attributes.items())


def _insert(connection: Connection, table: Table, trial_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(table.insert(), [{"trial_id": trial_id, **row} for row in rows])


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
    return [{"objective": index, "value": value, "value_type": kind} for index, (value, kind) in enumerate(stored)]

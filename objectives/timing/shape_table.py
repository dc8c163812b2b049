"""Table of measured shapes, shared by processes and later studies, so that no shape is measured twice."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoopt.objectives.measurement import Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.timing.latency import Calibration, Comparison
from autoopt.objectives.timing.machine import fingerprint, fingerprint_id
from autoopt.objectives.timing.model_call import calibrate_model, compare_models, model_of
from autoopt.strategies.candidate import Candidate
from autoopt.strategies.stand_ins.contract import TextModel
from autoopt.strategies.stand_ins.structure import structure_digest
from autoopt.strategies.system import locks
from autoopt.strategies.system.files import write_whole

_CALIBRATION = "calibration"


class ShapeTable:
    """Measurements by shape for this machine and one target, each in a file that is written atomically."""

    def __init__(self, folder: Path, target: Target) -> None:
        self.target = target
        self.folder = folder / f"{fingerprint_id(target)}-{target.slug}"

    def get(self, shape: str, *, reference: str) -> Comparison | None:
        """Return the comparison of two shapes; None if there is none or its file is damaged."""
        fields = _read(self._path(shape, reference))
        return None if fields is None else Comparison.from_json(fields)

    def put(self, shape: str, comparison: Comparison, *, reference: str) -> None:
        """Store a comparison, unless it is noisy."""
        if not comparison.noisy:
            self._write(self._path(shape, reference), comparison.to_json())

    def calibration(self, reference: str) -> Calibration | None:
        """Return the calibration of a shape; None if there is none or its file is damaged."""
        fields = _read(self._path(_CALIBRATION, reference))
        return None if fields is None else Calibration.from_json(fields)

    def put_calibration(self, calibration: Calibration, *, reference: str) -> None:
        """Store a calibration, unless other processes disturbed it: a quiet machine may be faster."""
        if not calibration.disturbed:
            self._write(self._path(_CALIBRATION, reference), calibration.to_json())

    def once(self, metric: str, shape: str, measure: Callable[[], Measurement]) -> Measurement:
        """Return a measurement that needs no reference, such as memory: stored, or measured now and stored.

        A noisy one is not stored.
        """
        with self.claim(shape, reference=metric):
            fields = _read(self._path(shape, metric))
            if fields is not None:
                return Measurement.from_json(fields)
            measured = measure()
            if not measured.noisy:
                self._write(self._path(shape, metric), measured.to_json())
            return measured

    @contextmanager
    def claim(self, shape: str, *, reference: str) -> Iterator[None]:
        """Lock a shape while it is measured and stored; others that need it wait and then find it stored."""
        with locks.hold(self._path(shape, reference).with_suffix(".lock")):
            yield

    def _path(self, name: str, reference: str) -> Path:
        return self.folder / reference / f"{name}.json"

    def _write(self, path: Path, fields: dict[str, Any]) -> None:
        machine_file = self.folder / "machine.json"
        if not machine_file.exists():
            _write(machine_file, {"machine": fingerprint(self.target), "target": self.target.to_json()})
        _write(path, fields)


def calibrate_once(
    reference: Any, target: Target, table: ShapeTable, *, samples: int = 150, seconds: float = math.inf
) -> Calibration:
    """Return the reference's calibration: stored with at least ``samples`` samples, or measured now and stored.

    A stored one that was requested with ``samples``, and has fewer because calls are slow, is not measured again.
    """
    shape = served_digest(reference, target)
    with table.claim(_CALIBRATION, reference=shape):
        calibration = table.calibration(shape)
        if calibration is None or _sample_count(calibration, seconds) < samples:
            calibration = calibrate_model(reference, target, samples=samples, seconds=seconds)
            table.put_calibration(calibration, reference=shape)
    return calibration


def _sample_count(calibration: Calibration, seconds: float) -> int:
    return calibration.samples if math.isinf(seconds) else max(calibration.samples, calibration.requested)


def shape_key(served: Any, target: Target, own_target: Target) -> str:
    """Return the key of a model's shape in a table for ``target``, if the model is timed on ``own_target``."""
    shape = served_digest(served, target)
    return shape if target.texts or own_target == target else f"{shape}-{own_target.slug}"


def served_digest(served: Any, target: Target) -> str:
    """Return what decides the time of a call: the model's structure, and how it reads texts if it answers some."""
    shape, model = structure_digest(model_of(served)), model_of(served)
    if not target.texts or not isinstance(served, Candidate) or isinstance(model, TextModel):
        return shape
    tokenizer, task = served.tokenizer, served.task.to_json()
    reading = repr((type(tokenizer).__name__, len(tokenizer), sorted(task.items(), key=str)))
    return f"{shape}-{hashlib.sha256(reading.encode()).hexdigest()[:8]}"


def compare_shape(
    candidate: Any,
    reference: Any,
    target: Target,
    table: ShapeTable,
    *,
    calibration: Calibration,
    limit_ratio: float | None = None,
    candidate_target: Target | None = None,
) -> Comparison:
    """Return the comparison of a candidate's shape with the reference's: stored, or measured now and stored.

    A candidate of the reference's own shape has the ratio 1 and is not measured. ``calibration`` is the reference's.
    ``candidate_target`` has the lengths of the same texts for a candidate with another tokenizer. Raises ``ValueError``
    if the table belongs to another target.
    """
    if target != table.target:
        raise ValueError(
            f"the table is for {table.target}, but the measurement is for {target}; open a table for that target"
        )
    own_target = candidate_target or target
    shape, of_reference = shape_key(candidate, target, own_target), served_digest(reference, target)
    if shape == of_reference:
        return Comparison.identity(calibration)
    with table.claim(shape, reference=of_reference):
        comparison = table.get(shape, reference=of_reference)
        if comparison is None:
            comparison = compare_models(
                candidate, reference, target, limit_ratio=limit_ratio, candidate_target=own_target
            )
            table.put(shape, comparison, reference=of_reference)
    return comparison


def _read(path: Path) -> dict[str, Any] | None:
    """Return the fields of a file; None if it is missing, truncated or altered."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        fields: dict[str, Any] = stored["fields"]
        return fields if stored["sha256"] == _digest(fields) else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, fields: dict[str, Any]) -> None:
    write_whole(path, json.dumps({"fields": fields, "sha256": _digest(fields)}, indent=1, sort_keys=True))


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

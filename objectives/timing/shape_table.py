"""A table of measured shapes, shared by processes and later studies: what was measured once is not measured again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoopt.objectives.measurement import Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.timing.latency import Calibration, Comparison
from autoopt.objectives.timing.machine import fingerprint, fingerprint_id
from autoopt.objectives.timing.model_call import calibrate_model, compare_models
from autoopt.strategies.stand_ins.structure import structure_digest
from autoopt.strategies.system import locks
from autoopt.strategies.system.files import write_whole

_CALIBRATION = "calibration"


class ShapeTable:
    """Comparisons by shape, for this machine and one target; each in a file of its own, written whole or not at all."""

    def __init__(self, folder: Path, target: Target) -> None:
        self.target = target
        self.folder = folder / f"{fingerprint_id(target)}-{target.slug}"

    def get(self, shape: str, *, reference: str) -> Comparison | None:
        """The comparison of ``shape`` with the shape ``reference``; None where there is none or its file is broken."""
        fields = _read(self._path(shape, reference))
        return None if fields is None else Comparison.from_json(fields)

    def put(self, shape: str, comparison: Comparison, *, reference: str) -> None:
        """Keep a comparison, unless it is noisy."""
        if not comparison.noisy:
            self._write(self._path(shape, reference), comparison.to_json())

    def calibration(self, reference: str) -> Calibration | None:
        """What the shape ``reference`` takes in ms; None where it was not calibrated or its file is broken."""
        fields = _read(self._path(_CALIBRATION, reference))
        return None if fields is None else Calibration.from_json(fields)

    def put_calibration(self, calibration: Calibration, *, reference: str) -> None:
        """Keep a calibration, unless it is noisy."""
        if not calibration.noisy:
            self._write(self._path(_CALIBRATION, reference), calibration.to_json())

    def once(self, metric: str, shape: str, measure: Callable[[], Measurement]) -> Measurement:
        """What a shape has of a metric that needs no reference, such as memory: out of the table, or measured now.

        It is kept, unless it is noisy.
        """
        with self.claim(shape, reference=metric):
            fields = _read(self._path(shape, metric))
            if fields is not None:
                return Measurement.from_json(fields)
            found = measure()
            if not found.noisy:
                self._write(self._path(shape, metric), found.to_json())
            return found

    @contextmanager
    def claim(self, shape: str, *, reference: str) -> Iterator[None]:
        """Hold while a shape is measured and put: who wants the same one waits and then finds it."""
        with locks.hold(self._path(shape, reference).with_suffix(".lock")):
            yield

    def _path(self, name: str, reference: str) -> Path:
        return self.folder / reference / f"{name}.json"

    def _write(self, path: Path, fields: dict[str, Any]) -> None:
        about = self.folder / "machine.json"
        if not about.exists():
            _write(about, {"machine": fingerprint(self.target), "target": self.target.to_json()})
        _write(path, fields)


def calibrated(reference_model: Any, target: Target, table: ShapeTable, *, samples: int = 150) -> Calibration:
    """The reference's calibration out of the table where it has so many samples, else measured now and kept."""
    reference = structure_digest(reference_model)
    with table.claim(_CALIBRATION, reference=reference):
        found = table.calibration(reference)
        if found is None or found.samples < samples:
            found = calibrate_model(reference_model, target, samples=samples)
            table.put_calibration(found, reference=reference)
    return found


def compare_shape(
    candidate_model: Any,
    reference_model: Any,
    target: Target,
    table: ShapeTable,
    *,
    calibration: Calibration,
    limit_ratio: float | None = None,
) -> Comparison:
    """Return how a candidate's shape compares with the reference's, out of the table or measured now and kept.

    A candidate of the reference's own shape has the ratio 1 and is not measured. ``calibration`` is the reference's.
    Raises ``ValueError`` where the table is of another target.
    """
    if target != table.target:
        raise ValueError(
            f"the measurement is for {target}, the table for {table.target}: open the table for the same one"
        )
    shape, reference = structure_digest(candidate_model), structure_digest(reference_model)
    if shape == reference:
        return Comparison.identity(calibration)
    with table.claim(shape, reference=reference):
        found = table.get(shape, reference=reference)
        if found is None:
            found = compare_models(candidate_model, reference_model, target, limit_ratio=limit_ratio)
            table.put(shape, found, reference=reference)
    return found


def _read(path: Path) -> dict[str, Any] | None:
    """The fields in a file; None where it is absent, cut short or otherwise not what was written."""
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

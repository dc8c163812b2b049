import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from autoopt.objectives.measurement import Direction, Measurement
from autoopt.objectives.target import Target
from autoopt.objectives.timing.latency import Calibration, Comparison
from autoopt.objectives.timing.shape_table import ShapeTable, calibrate_once, compare_shape, shape_key
from autoopt.strategies.networks.architectures import layers, set_layers
from autoopt.strategies.stand_ins.structure import structure_digest

TARGET = Target(sequence_length=16)
CALIBRATION = Calibration(p50_ms=2.0, p95_ms=3.0, p99_ms=None, samples=150, cpu_over_wall=1.0, noisy=False)
COMPARISON = Comparison(
    ratio=0.5,
    low=0.48,
    high=0.52,
    samples=16,
    candidate_p50_ms=1.0,
    candidate_p95_ms=None,
    reference_p50_ms=2.0,
    reference_p95_ms=None,
    cpu_over_wall=1.0,
    noisy=False,
)


def bert(**changes: int) -> BertForSequenceClassification:
    sizes = {"vocab_size": 100, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    config = BertConfig.from_dict({**sizes, "num_hidden_layers": 2, **changes})
    model = BertForSequenceClassification(config)
    model.train(mode=False)
    return model


@pytest.fixture
def table(tmp_path: Path) -> ShapeTable:
    return ShapeTable(tmp_path, TARGET)


def test_the_values_of_the_weights_are_no_part_of_the_signature() -> None:
    model = bert()
    before = structure_digest(model)
    with torch.no_grad():
        model.classifier.weight.zero_()
    assert structure_digest(model) == before == structure_digest(bert())


@pytest.mark.parametrize(
    "changes", [{"num_hidden_layers": 1}, {"intermediate_size": 48}, {"num_attention_heads": 2}, {"num_labels": 7}]
)
def test_layers_widths_and_heads_are_part_of_the_signature(changes: dict[str, int]) -> None:
    assert structure_digest(bert(**changes)) != structure_digest(bert())


def test_the_kind_of_numbers_and_the_class_of_a_module_are_part_of_the_signature() -> None:
    class FasterLinear(torch.nn.Linear):
        pass

    halved, other = bert(), bert()
    halved.classifier.to(torch.bfloat16)
    other.classifier = FasterLinear(32, 2)
    assert len({structure_digest(bert()), structure_digest(halved), structure_digest(other)}) == 3


def test_which_layers_were_kept_is_no_part_of_the_signature() -> None:
    first, last = bert(num_hidden_layers=3), bert(num_hidden_layers=3)
    set_layers(first, list(layers(first))[:2])
    set_layers(last, list(layers(last))[1:])
    assert structure_digest(first) == structure_digest(last)


def test_the_table_gives_back_what_was_put(table: ShapeTable, tmp_path: Path) -> None:
    table.put("shape", COMPARISON, reference="base")
    table.put_calibration(CALIBRATION, reference="base")
    again = ShapeTable(tmp_path, TARGET)
    assert again.get("shape", reference="base") == COMPARISON
    assert again.calibration("base") == CALIBRATION


def test_another_shape_reference_or_target_has_no_comparison(table: ShapeTable, tmp_path: Path) -> None:
    table.put("shape", COMPARISON, reference="base")
    assert table.get("other", reference="base") is None
    assert table.get("shape", reference="other") is None
    for other in (replace(TARGET, batch_size=8), replace(TARGET, lengths=(8, 16)), replace(TARGET, lengths=(8, 24))):
        assert ShapeTable(tmp_path, other).get("shape", reference="base") is None


def test_what_is_noisy_is_not_kept(table: ShapeTable) -> None:
    table.put("shape", replace(COMPARISON, noisy=True), reference="base")
    table.put_calibration(replace(CALIBRATION, noisy=True), reference="base")
    assert table.get("shape", reference="base") is None
    assert table.calibration("base") is None


def test_of_processor_times_the_ratio_is_kept_and_the_milliseconds_are_not(table: ShapeTable) -> None:
    table.put("shape", replace(COMPARISON, by_processor=True), reference="base")
    table.put_calibration(replace(CALIBRATION, by_processor=True), reference="base")
    assert table.get("shape", reference="base") == replace(COMPARISON, by_processor=True)
    assert table.calibration("base") is None, "a quiet machine may be faster"


def test_a_file_cut_anywhere_or_altered_counts_as_absent_and_can_be_put_again(table: ShapeTable) -> None:
    table.put("shape", COMPARISON, reference="base")
    path = table.folder / "base" / "shape.json"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert table.get("shape", reference="base") is None
    for other in (whole.replace(b"0.5,", b"0.1,"), b"[]", b"null", b"\xff\x00", b'{"fields": 1, "sha256": 2}'):
        path.write_bytes(other)
        assert table.get("shape", reference="base") is None
    table.put("shape", COMPARISON, reference="base")
    assert table.get("shape", reference="base") == COMPARISON


class Counted:
    """A model that counts its forward passes."""

    def __init__(self, model: BertForSequenceClassification) -> None:
        self.model = model
        self.passes = 0
        model.register_forward_pre_hook(self._count)

    def _count(self, *_: object) -> None:
        self.passes += 1


def test_a_shape_once_measured_is_not_measured_again(table: ShapeTable, tmp_path: Path) -> None:
    candidate = Counted(bert(num_hidden_layers=1))
    table.put(structure_digest(candidate.model), COMPARISON, reference=structure_digest(bert()))
    again = ShapeTable(tmp_path, TARGET)
    comparison = compare_shape(bert(num_hidden_layers=1), bert(), TARGET, again, calibration=CALIBRATION)
    assert candidate.passes == 0
    assert comparison == COMPARISON


def test_two_workers_with_one_new_shape_measure_it_once(table: ShapeTable) -> None:
    reference, candidates = bert(), [Counted(bert(num_hidden_layers=1)) for _ in range(2)]
    comparisons = {}

    def work(place: int) -> None:
        comparisons[place] = compare_shape(candidates[place].model, reference, TARGET, table, calibration=CALIBRATION)

    workers = [threading.Thread(target=work, args=(place,)) for place in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    if comparisons[0].noisy or comparisons[1].noisy:
        pytest.skip("the machine was too busy for a measurement that is kept")
    assert comparisons[0] == comparisons[1]
    assert sorted(candidate.passes > 0 for candidate in candidates) == [False, True]


def test_the_reference_is_calibrated_once(table: ShapeTable) -> None:
    reference = Counted(bert())
    first = calibrate_once(reference.model, TARGET, table)
    if first.disturbed:
        pytest.skip("the machine was too busy for a measurement that is kept")
    passes = reference.passes
    assert calibrate_once(reference.model, TARGET, table) == first
    assert reference.passes == passes > 0


def test_a_calibration_of_too_few_samples_is_made_again(table: ShapeTable) -> None:
    reference = Counted(bert())
    table.put_calibration(replace(CALIBRATION, samples=20), reference=structure_digest(reference.model))
    assert calibrate_once(reference.model, TARGET, table, samples=20).samples == 20
    assert reference.passes == 0
    assert calibrate_once(reference.model, TARGET, table, samples=21).samples >= 21
    assert reference.passes > 0


def test_slow_calls_are_calibrated_again_only_for_a_percentile(table: ShapeTable) -> None:
    reference = Counted(bert())
    slow = replace(CALIBRATION, samples=20, requested=30)
    table.put_calibration(slow, reference=structure_digest(reference.model))
    assert calibrate_once(reference.model, TARGET, table, samples=30, seconds=30) == slow
    assert reference.passes == 0
    assert calibrate_once(reference.model, TARGET, table, samples=30).samples >= 30


def test_a_metric_that_needs_no_reference_is_measured_once_for_each_shape_and_target(
    table: ShapeTable, tmp_path: Path
) -> None:
    measured = []

    def measure() -> Measurement:
        measured.append(1.0)
        return Measurement.exact("memory", 5e6, "bytes", Direction.MINIMIZE)

    first = table.once("memory", "shape", measure)
    assert ShapeTable(tmp_path, TARGET).once("memory", "shape", measure) == first
    assert len(measured) == 1
    table.once("energy", "shape", measure)
    table.once("memory", "other", measure)
    ShapeTable(tmp_path, replace(TARGET, batch_size=8)).once("memory", "shape", measure)
    assert len(measured) == 4


def test_a_metric_that_is_noisy_is_measured_again(table: ShapeTable) -> None:
    noisy = replace(Measurement.exact("energy", 1.0, "J", Direction.MINIMIZE), noisy=True)
    quiet = replace(noisy, value=2.0, noisy=False)
    assert table.once("energy", "shape", lambda: noisy) == noisy
    assert table.once("energy", "shape", lambda: quiet) == quiet


def test_a_candidate_of_the_shape_of_the_reference_has_the_ratio_one_and_is_not_measured(table: ShapeTable) -> None:
    candidate = Counted(bert())
    comparison = compare_shape(candidate.model, bert(), TARGET, table, calibration=CALIBRATION)
    assert candidate.passes == 0
    assert comparison == Comparison.identity(CALIBRATION)


def test_a_table_of_another_target_is_refused(table: ShapeTable) -> None:
    with pytest.raises(ValueError, match=r"threads=1.*threads=2"):
        compare_shape(bert(), bert(), replace(TARGET, threads=2), table, calibration=CALIBRATION)


def test_a_shape_is_measured_again_at_the_lengths_of_another_tokenizer() -> None:
    model, own = bert(), replace(TARGET, sequence_length=TARGET.sequence_length + 4)
    assert shape_key(model, TARGET, TARGET) == structure_digest(model)
    assert shape_key(model, TARGET, own) not in {structure_digest(model), shape_key(model, own, TARGET)}

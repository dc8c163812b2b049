"""Experiment files that cannot be used: a line for each mistake, with file, line, key and remedy."""

# ruff: noqa: E501 - in a table of cases each case is a line

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.search.experiment.experiment import load_experiment
from autoopt.strategies.errors import ExperimentError, UnknownName

HEAD = "study: news\nmodel: org/encoder\n"
DATA = "data:\n  source: org/news\n"

FILES: dict[str, tuple[str, str]] = {
    "nothing": ("", r"e.yaml:1: an experiment file holds keys such as 'study:'"),
    "a list": ("- study\n", r"e.yaml:1: an experiment file holds keys"),
    "no study": ("model: m\n" + DATA, r"e.yaml:1: study: missing; add this key"),
    "no data": (HEAD, r"e.yaml:1: data: missing; add this key"),
    "an unknown section": (HEAD + DATA + "serch:\n  trials: 3\n", r"e.yaml:5: serch: unknown key; did you mean 'search'\?; keys here are study, task"),
    "an unknown key": (HEAD + DATA + "  splitt: {}\n", r"e.yaml:5: data.splitt: unknown key; did you mean 'split'\?; keys here are source"),
    "an unknown key deep down": (HEAD + DATA + "  split:\n    trian: 3\n", r"e.yaml:6: data.split.trian: unknown key; did you mean 'train'\?"),
    "a key twice": (HEAD + DATA + "model: other\n", r"e.yaml:5:1: the key 'model' is already in line 2; keep one"),
    "a way out": ("study: ../x\nmodel: m\n" + DATA, r"e.yaml:1: study: '../x' cannot name a study; use up to 128 letters"),
    "two dots": ("study: a..b\nmodel: m\n" + DATA, r"e.yaml:1: study: 'a..b' cannot name a study"),
    "a name too long": (f"study: {'x' * 129}\nmodel: m\n" + DATA, r"e.yaml:1: study: .* cannot name a study"),
    "an injection": ("study: \"x'; drop table trials;--\"\nmodel: m\n" + DATA, r"e.yaml:1: study: .* cannot name a study"),
    "a number for a name": ("study: 7\nmodel: m\n" + DATA, r"e.yaml:1: study: 7 is a number, and the name of a study is text; put it in quotes: study: \"7\""),
    "a year for a name": ("study: 2024\nmodel: m\n" + DATA, r"e.yaml:1: study: 2024 is a number, .*put it in quotes"),
    "a truth for a name": ("study: true\nmodel: m\n" + DATA, r"e.yaml:1: study: true is true or false, .*put it in quotes"),
    "a column by another name": ("study: s\nmodel: m\ndata: {source: a.csv, text_column: t}\n", r"data.text_column: unknown key; did you mean 'text'\?"),
    "a column of labels by another name": ("study: s\nmodel: m\ndata: {source: a.csv, label_column_name: t}\n", r"data.label_column_name: unknown key; did you mean 'label'\?"),
    "a number for a model": ("study: a\nmodel: 7\n" + DATA, r"e.yaml:2: model: expected the name of a model, or a list of names, got 7"),
    "no model in a list": ("study: a\nmodel: []\n" + DATA, r"e.yaml:2: model: it names no model; give a folder, package://NAME/PATH"),
    "a model twice": ("study: a\nmodel: [m, other, m]\n" + DATA, r"e.yaml:2: model: 'm' is listed twice; list each model once"),
    "a model twice in two spellings": ("study: a\nmodel: [org/m, org/m/]\n" + DATA, r"e.yaml:2: model: 'org/m' is listed twice"),
    "a number among models": ("study: a\nmodel: [m, 7]\n" + DATA, r"e.yaml:2: model: expected the name of a model, or a list of names, got \['m', 7\]"),
    "an unknown task": (HEAD + DATA + "task: text_clasification\n", r"e.yaml:5: task.name: 'text_clasification' is no task; did you mean 'text_classification'\?"),
    "an unknown score": (HEAD + DATA + "task:\n  metric: bleu\n", r"e.yaml:6: task.metric: 'bleu' is no metric of text_classification.*choose accuracy or macro_f1"),
    "two ways of giving data": (HEAD + DATA + "  train: a.csv\n", r"e.yaml:3: data: give either 'source', which is split, or 'train'"),
    "no training data": (HEAD + "data:\n  test: a.csv\n", r"e.yaml:3: data: there is no training data; give 'source'"),
    "a split of nothing": (HEAD + DATA + "  split: {train: 0}\n", r"e.yaml:5: data.split.train: '0' is no size of a split; write a number of examples, or a share such as 15%"),
    "a split of more than all": (HEAD + DATA + "  split: {test: 150%}\n", r"e.yaml:5: data.split.test: '150%' is no size of a split"),
    "a length of nothing": (HEAD + DATA + "  max_length: 0\n", r"e.yaml:5: data.max_length: 0 is too small; the least is 4"),
    "a length that is text": (HEAD + DATA + "  max_length: 64 tokens\n", r"e.yaml:5: data.max_length: expected a whole number, got '64 tokens'$"),
    "an unknown device": (HEAD + DATA + "target:\n  device: gpu\n", r"e.yaml:6: target.device: 'gpu' is not allowed; choose 'cpu' or 'cuda'"),
    "no threads": (HEAD + DATA + "target: {threads: 0}\n", r"e.yaml:5: target.threads: 0 is too small; the least is 1"),
    "a setting of another task": (HEAD + DATA + "task:\n  stride: 32\n", r"e.yaml:6: task.stride: a setting of question_answering that text_classification does not have; remove it"),
    "a stride of nothing": (HEAD + DATA + "task: {name: question_answering, stride: 0}\n", r"e.yaml:5: task.stride: .*1"),
    "an unknown objective": (HEAD + DATA + "objectives: [quality, latncy]\n", r"e.yaml:5: objectives.1: 'latncy' is not a metric; did you mean 'latency'\?"),
    "a token's time of a classifier": (HEAD + DATA + "objectives: [quality, tpot]\n", r"e.yaml:5: objectives: 'tpot' is a cost of models that write text \(task causal_lm\), and this task is text_classification; use latency_p50"),
    "a limit on a token's time of a classifier": (HEAD + DATA + "budget: [ttft <= 20ms]\n", r"e.yaml:5: budget: 'ttft' is a cost of models that write text"),
    "an objective twice": (HEAD + DATA + "objectives: [latency, latency_p50]\n", r"e.yaml:5: objectives: 'latency_p50' is listed twice \(latency is latency_p50\); list"),
    "no objectives": (HEAD + DATA + "objectives: []\n", r"e.yaml:5: objectives: expected at least one entry, got \[\]"),
    "a limit without a unit": (HEAD + DATA + "budget:\n- latency <= 12\n", r"e.yaml:6: budget.0: 'latency <= 12': '12' is a latency without a unit; write one as 12ms"),
    "a limit on something unknown": (HEAD + DATA + "budget: [speed <= 3ms]\n", r"e.yaml:5: budget.0: 'speed' is not a metric; metrics are quality"),
    "a limit that is no list": (HEAD + DATA + "budget: latency <= 3ms\n", r"e.yaml:5: budget: expected a list, got 'latency <= 3ms'"),
    "a limit that is a section": (HEAD + DATA + "budget:\n- latency: 3ms\n", r"e.yaml:6: budget.0: .* is not a limit; write one as 'latency_p50 <= 12ms'"),
    "samples that are no number": (HEAD + "data: {source: a.csv, max_train_samples: many}\n", r"data.max_train_samples: 'many' is no number of examples; write one, or 'auto' or 'all'$"),
    "a time without a unit": (HEAD + DATA + "search: {timeout: 600}\n", r"e.yaml:5: search.timeout: '600' is a duration without a unit; write one as 90s"),
    "half a trial": (HEAD + DATA + "search: {trials: 1.5}\n", r"e.yaml:5: search.trials: expected a whole number, got 1.5"),
    "a word for a number": (HEAD + DATA + "search: {trials: no}\n", r"e.yaml:5: search.trials: expected a whole number, got 'no'"),
    "true for a number": (HEAD + DATA + "search: {trials: true}\n", r"e.yaml:5: search.trials: expected a whole number, got true"),
    "an octal number": (HEAD + DATA + "search: {seed: 010}\n", r"e.yaml:5: search.seed: expected a whole number, got '010'"),
    "an unknown sampler": (HEAD + DATA + "search: {sampler: nsga}\n", r"e.yaml:5: search.sampler: 'nsga' is not allowed; choose 'auto', 'tpe', 'gp', 'nsga2' or 'random'"),
    "a section that is text": (HEAD + DATA + "search: fast\n", r"e.yaml:5: search: expected a section with keys of its own, got 'fast'"),
    "an unknown strategy": (HEAD + DATA + "strategies:\n  lroa: true\n", r"e.yaml:6: strategies.lroa: 'lroa' is no strategy; did you mean 'lora'\?"),
    "a strategy that is on": (HEAD + DATA + "strategies: {lora: on}\n", r"e.yaml:5: strategies.lora: expected true, false or settings, got 'on'"),
    "an unknown setting": (HEAD + DATA + "strategies:\n  layer_drop:\n    kep: 0.5\n", r"e.yaml:7: strategies.layer_drop: 'kep' is not a setting of layer_drop; did you mean 'keep'\?; it has keep"),
    "an illegal value": (HEAD + DATA + "strategies:\n  layer_drop:\n    keep: 3\n", r"e.yaml:7: strategies.layer_drop: keep: 3 is not legal; use one of .*, or a number from"),
    "a knob that is text": (HEAD + DATA + "strategies: {layer_drop: {keep: half}}\n", r"e.yaml:5: strategies.layer_drop: keep: 'half' is not legal; use one of"),
    "an empty list of values": (HEAD + DATA + "strategies: {layer_drop: {keep: []}}\n", r"keep: an empty list leaves nothing to search"),
    "a range with one end": (HEAD + DATA + "strategies: {layer_drop: {keep: {low: 0.5}}}\n", r"keep: a range is written \{low: …, high: …\}; got low"),
    "a range upside down": (HEAD + DATA + "strategies: {layer_drop: {keep: {low: 0.6, high: 0.5}}}\n", r"keep: low 0.6 is above high 0.5; swap them"),
    "nothing to search": (HEAD + DATA + "strategies: {others: false}\n", r"e.yaml:5: strategies: no strategy is enabled; set at least one to true"),
    "others that are text": (HEAD + DATA + "strategies: {others: none}\n", r"e.yaml:5: strategies.others: expected true or false, got 'none'"),
    "no workers": (HEAD + DATA + "resources: {workers: 0}\n", r"e.yaml:5: resources.workers: 0 is too small; the least is 1"),
    "a database that is a file": (HEAD + DATA + "storage: {url: studies.db}\n", r"e.yaml:5: storage.url: 'studies.db' is no address; write one such as postgresql://"),
    "code": (HEAD + DATA + "task: !!python/object/apply:os.system [exit 1]\n", r"e.yaml:5:7: the tag '!!python/object/apply:os.system' is refused"),
    "a tab": (HEAD + "data:\n\tsource: x\n", r"e.yaml:4:1: .*indent with spaces, not with tabs"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ExperimentError, match=message):
        load_experiment(path)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(
        HEAD + "data:\n  sorce: x\n  source: y\nsearch: {trials: 0}\nstrategies: {lroa: true, x: 1}\n", "utf-8"
    )
    with pytest.raises(ExperimentError, match="unknown key") as caught:
        load_experiment(path)
    lines = str(caught.value).splitlines()
    assert [line.removeprefix(f"{path}:").split(": ")[1] for line in lines] == [
        "data.sorce",
        "search.trials",
        "strategies.lroa",
        "strategies.x",
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.trials", r"--set search.trials: write it as key.sub=value, for example --set search.trials=8"),
        ("=3", r"--set =3: write it as key.sub=value"),
        ("search..trials=3", r"write it as key.sub=value"),
        ("search.trails=3", r"--set search.trails=3: search.trails: unknown key; did you mean 'trials'\?"),
        ("search={trials: none}", r"--set search={trials: none}: search.trials: expected a whole number, got 'none'"),
        ("study.name=x", r"--set study.name=x: 'name' cannot be set inside 'news', which is no section; set the whole"),
        ("budget=[latency <= 3ms", r"--set budget=\[latency <= 3ms:1:\d+: "),
    ],
)
def test_an_override_that_cannot_be_used_is_refused(tmp_path: Path, override: str, message: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(HEAD + DATA, encoding="utf-8")
    with pytest.raises(ExperimentError, match=message):
        load_experiment(path, [override])


def test_a_name_that_is_neither_file_nor_example_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownName, match=r"no experiment file 'bbc-new', .*; did you mean 'bbc-news'\?; examples are .*bbc-news"
    ):
        load_experiment("bbc-new")
    with pytest.raises(
        ExperimentError, match=r"is a folder; give an experiment file, or the name of an example: .*bbc-news"
    ):
        load_experiment(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "storage: {url: 'postgresql://user:hunter2@host/db'}",
        "storage: {url: 'postgresql://user:hunter2/x@y@host/db'}",
        "storage: {url: 'postgresql://host/db?user=a&password=hunter2'}",
        "storage: {url: ['postgresql://user:hunter2@host/db']}",
        "storage: {urll: 'postgresql://user:hunter2@host/db'}",
        "storage: ['postgresql://user:hunter2@host/db']",
        "tracking: {uri: 'https://user:hunter2@host'}",
        "tracking: {uri: {a: hunter2}}",
        "tracking: hunter2",
    ],
)
def test_a_password_in_the_file_is_refused_and_never_repeated(tmp_path: Path, text: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(HEAD + DATA + text + "\n", encoding="utf-8")
    with pytest.raises(ExperimentError, match=r"e.yaml:5: (storage|tracking)") as caught:
        load_experiment(path)
    error: BaseException | None = caught.value
    assert "hunter2" not in str(error)
    assert error is not None
    assert error.__suppress_context__

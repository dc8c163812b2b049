"""The commands on one study of the tiny model that really ran, in this process and without Ray."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from autoopt.objectives.tasks.question_answering.task import QuestionAnswering
from autoopt.search.backends.mlflow_registry import registered
from autoopt.search.backends.ray_tune import runner as ray_runner
from autoopt.search.cli.main import autoopt
from autoopt.search.identity.lock import study_lock
from autoopt.search.paths import Root, StudyFolder
from autoopt.strategies import saving
from autoopt.strategies.saving import MANIFEST
from tests import tiny
from tests.search.samples import forget_artifact_places, run_here, write_experiment

WIDE = {"COLUMNS": "200"}


def run(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner(env=WIDE).invoke(autoopt, list(map(str, arguments)), input=stdin)


@dataclass(frozen=True)
class FinishedStudy:
    """A finished study and how the command that made it ended."""

    root: Root
    file: Path
    result: Result

    @property
    def folder(self) -> StudyFolder:
        return self.root.study("news")

    @property
    def front(self) -> dict[str, Any]:
        """The verified front as it is stored, without its digest."""
        document: dict[str, Any] = json.loads(self.folder.front.read_text(encoding="utf-8"))
        return {key: value for key, value in document.items() if key != "sha256"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_database: Path) -> FinishedStudy:
    folder = tmp_path_factory.mktemp("studied")
    root = Root(folder / "root")
    root.path.mkdir()
    shutil.copy(empty_mlflow_database, root.mlflow_database)
    file = write_experiment(folder / "given")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_runner, "run", run_here)
        return FinishedStudy(root, file, run("search", file, "--root", root.path))


def test_a_search_that_finds_something_ends_with_0_the_front_and_the_line_to_pull(finished: FinishedStudy) -> None:
    result = finished.result
    assert result.exit_code == 0, result.stderr
    assert "news: " in result.stdout
    for part in ("champion", "baseline", "full_finetuning", " ms [", "x [", "faster", "test ", " kB"):
        assert part in result.stdout
    assert result.stdout.endswith(f"autoopt pull news@champion -o champion --root {finished.root.path}\n")


def test_progress_goes_to_stderr_a_line_for_each_event(finished: FinishedStudy) -> None:
    lines = [line.partition("] ")[2] for line in finished.result.stderr.splitlines()]
    assert sum(line.startswith("trial ") and " started: " in line for line in lines) == 3
    assert any(line.startswith("3 of 3 trials: ") for line in lines)
    assert any(line.startswith("verified the baseline: test quality ") for line in lines)
    assert not any("started" in line for line in finished.result.stdout.splitlines())


def test_the_same_command_again_runs_nothing_and_ends_the_same(finished: FinishedStudy) -> None:
    again = run("search", finished.file, "--root", finished.root.path, "--json")
    assert again.exit_code == 0, again.stderr
    document = json.loads(again.stdout)
    assert document["feasible"] is True
    assert document["models"] == finished.front["models"]
    assert document["versions"] == finished.front["versions"]
    assert document["pull"].startswith("autoopt pull news@champion -o champion")
    assert "started" not in again.stderr


def test_a_changed_experiment_does_not_go_on_with_the_study(finished: FinishedStudy) -> None:
    result = run("search", finished.file, "--root", finished.root.path, "--set", "data.max_length=12")
    assert result.exit_code == 2
    assert "data.max_length" in result.stderr
    assert "--set study=NAME" in result.stderr


def test_a_study_that_another_process_searches_is_left_alone(finished: FinishedStudy) -> None:
    with study_lock(finished.folder.lock):
        result = run("search", finished.file, "--root", finished.root.path)
        state = json.loads(run("status", "--root", finished.root.path, "--json").stdout)[0]
    assert result.exit_code == 5
    assert "is being searched by process" in result.stderr
    assert f"To resume: autoopt search {finished.file} --root {finished.root.path}" in result.stderr
    assert state["state"] == "running"
    assert state["held_by"].startswith("process ")


def test_status_tells_how_far_a_study_is(finished: FinishedStudy) -> None:
    (state,) = json.loads(run("status", "--root", finished.root.path, "--json").stdout)
    assert (state["study"], state["state"], state["trials"], state["asked"]) == ("news", "finished", 3, 3)
    assert state["verified"] == len(finished.front["models"])
    assert state["baseline"]["recipe"][0]["strategy"] == "full_finetuning"
    shown = run("status", "news", "--root", finished.root.path)
    assert "finished" in shown.stdout
    assert "3 of 3" in shown.stdout


def test_show_takes_the_names_of_the_front(finished: FinishedStudy) -> None:
    def number(trial: object) -> int:
        result = run("show", "news", trial, "--root", finished.root.path, "--json")
        assert result.exit_code == 0, result.output
        return int(json.loads(result.stdout)["number"])

    named = json.loads(run("front", "news", "--root", finished.root.path, "--json").stdout)["named"]
    assert named
    assert {alias: number(alias) for alias in named} == named
    assert number("baseline") == 0
    unknown = run("show", "news", "champ", "--root", finished.root.path)
    assert unknown.exit_code == 2
    assert "has no trial 'champ'; did you mean 'champion'?; give the number of a trial, or one of its" in unknown.output
    assert run("show", "news", "--root", finished.root.path, "--", "-1").exit_code == 2


def test_show_has_every_value_of_the_recipe_and_every_stage(finished: FinishedStudy) -> None:
    number = finished.front["named"]["fastest"]
    shown = run("show", "news", number, "--root", finished.root.path)
    assert shown.exit_code == 0, shown.output
    record = json.loads(run("show", "news", number, "--root", finished.root.path, "--json").stdout)
    for step in record["recipe"]:
        for key, value in step.items():
            assert (value if key == "strategy" else f"{key}={value}") in shown.stdout
    for stage in record["stages"]:
        assert stage["name"] in shown.stdout
    for part in ("latency_ratio", "parameters", "size <= 10MB", "met", "Model: "):
        assert part in shown.stdout


def test_show_has_the_quality_at_each_rung_of_recovery(finished: FinishedStudy) -> None:
    recovered = run("show", "news", 1, "--root", finished.root.path).stdout
    assert re.search(r"quality at rungs: 0\.\d+ before recovery, 0\.\d+ a quarter of recovery", recovered)
    trained = run("show", "news", 0, "--root", finished.root.path).stdout
    assert re.search(r"quality at rungs: 0\.\d+ a quarter of the trunk\n", trained)


def test_show_of_an_unknown_trial_or_study_says_what_there_is(finished: FinishedStudy) -> None:
    trial = run("show", "news", 99, "--root", finished.root.path)
    assert trial.exit_code == 2
    assert "has no trial 99; there are " in trial.stderr
    study = run("show", "nwes", 0, "--root", finished.root.path)
    assert study.exit_code == 2
    assert "did you mean 'news'" in study.stderr


def test_the_front_is_the_verified_one(finished: FinishedStudy) -> None:
    stored = {key: value for key, value in finished.front.items() if key != "sha256"}
    assert json.loads(run("front", "news", "--root", finished.root.path, "--json").stdout) == stored
    shown = run("front", "news", "--root", finished.root.path)
    assert shown.exit_code == 0
    assert "champion" in shown.stdout


def test_the_final_table_and_the_front_say_how_each_model_differs_from_the_baseline_on_test(
    finished: FinishedStudy,
) -> None:
    compared = [model["difference"] for model in finished.front["models"] if model["difference"]]
    assert compared
    front = run("front", "news", "--root", finished.root.path).stdout
    loose = run("front", "news", "--root", finished.root.path, "--budget", "quality >= 1%").stdout
    for shown in (finished.result.stdout, front, loose):
        assert shown.count("to the baseline (p = ") >= 1
    assert front.count("to the baseline (p = ") == len(compared)


def test_show_of_a_verified_trial_has_what_the_test_split_said_and_where_its_predictions_are(
    finished: FinishedStudy,
) -> None:
    number = next(model["record"]["number"] for model in finished.front["models"] if model["difference"])
    shown = run("show", "news", number, "--root", finished.root.path).stdout
    for part in ("Verified: ", "test_quality_difference", "test_quality_p_value", "to the baseline (p = "):
        assert part in shown
    document = json.loads(run("show", "news", number, "--root", finished.root.path, "--json").stdout)
    assert document["verified"] == next(m for m in finished.front["models"] if m["record"]["number"] == number)
    lines = Path(document["predictions"]).read_text(encoding="utf-8").splitlines()
    assert len(lines) == document["verified"]["test"]["test_quality"]["samples"] == 40


def test_what_the_test_split_said_is_registered_with_the_version(finished: FinishedStudy) -> None:
    for version in registered(uri=None, root=finished.root, name="news"):
        model = next(m for m in finished.front["models"] if m["record"]["number"] == version.trial)
        if model["difference"]:
            assert version.measurements["test_quality_difference"].value == model["difference"]["value"]
            assert version.measurements["test_quality_p_value"].value == model["difference"]["p_value"]


def test_another_budget_is_answered_from_stored_trials(finished: FinishedStudy) -> None:
    tight = run("front", "news", "--root", finished.root.path, "--budget", "size <= 1kB", "--json")
    assert tight.exit_code == 3
    answer = json.loads(tight.stdout)
    assert answer["models"] == []
    assert answer["nearest"]["violations"]["size <= 1kB"] > 1
    loose = run("front", "news", "--root", finished.root.path, "--budget", "size<=1GB", "--budget", "quality >= 1%")
    assert loose.exit_code == 0
    assert "size<=1GB and quality >= 1%" in loose.stdout
    assert "verified" in loose.stdout


def test_a_budget_that_is_none_is_refused(finished: FinishedStudy) -> None:
    result = run("front", "news", "--root", finished.root.path, "--budget", "speed <= 3")
    assert result.exit_code == 2
    assert "'speed' is not a metric" in result.stderr


@pytest.fixture(scope="module")
def pulled(finished: FinishedStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    destination = tmp_path_factory.mktemp("pulled") / "champion"
    result = run("pull", "news@champion", "-o", destination, "--root", finished.root.path)
    assert result.exit_code == 0, result.stderr
    assert f"autoopt predict {destination} --text ..." in result.stdout
    return destination


def test_a_pulled_model_is_the_verified_one_file_by_file(finished: FinishedStudy, pulled: Path) -> None:
    folder = finished.folder.kept_model(finished.front["named"]["champion"])
    assert (pulled / MANIFEST).read_bytes() == (folder / MANIFEST).read_bytes()


def test_pull_overwrites_only_with_force(finished: FinishedStudy, pulled: Path) -> None:
    refused = run("pull", "news@champion", "-o", pulled, "--root", finished.root.path)
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    forced = run("pull", "news@champion", "-o", pulled, "--root", finished.root.path, "--force", "--json")
    assert json.loads(forced.stdout) == {"model": "news@champion", "folder": str(pulled)}


def test_pull_of_an_unknown_alias_says_which_there_are(finished: FinishedStudy, tmp_path: Path) -> None:
    result = run("pull", "news@chmpion", "-o", tmp_path / "x", "--root", finished.root.path)
    assert result.exit_code == 2
    assert "did you mean 'champion'" in result.stderr
    assert not (tmp_path / "x").exists()


def test_predict_gives_a_label_and_a_score_for_each_text(pulled: Path) -> None:
    result = run("predict", pulled, "--text", "chelsea won the cup", "--text", "shares fell sharply")
    assert result.exit_code == 0, result.stderr
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert len(rows) == 2
    assert all(label in ("business", "sport") and 0 < float(score) <= 1 for label, score in rows)


def test_predict_answers_the_lines_of_a_file_and_of_stdin_alike(pulled: Path, tmp_path: Path) -> None:
    text = "chelsea won the cup\nshares fell\n"
    file = tmp_path / "texts.txt"
    file.write_text(text, encoding="utf-8")
    from_file = run("predict", pulled, "--file", file)
    assert from_file.exit_code == 0, from_file.stderr
    assert len(from_file.stdout.splitlines()) == 2
    assert run("predict", pulled, "--file", "-", stdin=text).stdout == from_file.stdout
    scores = json.loads(run("predict", pulled, "--file", "-", "--json", stdin=text).stdout)
    assert [answer["text"] for answer in scores] == ["chelsea won the cup", "shares fell"]
    assert all(sum(answer["scores"].values()) == pytest.approx(1) for answer in scores)


def test_predict_wants_texts_from_one_place(pulled: Path, tmp_path: Path) -> None:
    assert run("predict", pulled).exit_code == 2
    assert run("predict", pulled, "--text", "a", "--file", "-").exit_code == 2
    missing = run("predict", pulled, "--file", tmp_path / "none.txt")
    assert missing.exit_code == 2
    assert "there is no file" in missing.stderr
    (tmp_path / "latin.txt").write_bytes(b"fine\nGr\xf6\xdfe\n")
    latin = run("predict", pulled, "--file", tmp_path / "latin.txt")
    assert latin.exit_code == 2
    assert "latin.txt:2: byte 7 (0xf6) is not UTF-8" in latin.stderr


def test_predict_takes_a_second_text_for_each_text(pulled: Path) -> None:
    pairs = [("chelsea won", "the cup"), ("shares fell", "sharply")]
    options = [word for text, pair in pairs for word in ("--text", text, "--text-pair", pair)]
    answers = json.loads(run("predict", pulled, *options, "--json").stdout)
    assert [(answer["text"], answer["text_pair"]) for answer in answers] == pairs
    alone = json.loads(run("predict", pulled, *options[:2], *options[4:6], "--json").stdout)
    assert [answer["scores"] for answer in answers] != [answer["scores"] for answer in alone]
    few = run("predict", pulled, "--text", "a", "--text", "b", "--text-pair", "c")
    assert few.exit_code == 2
    assert "got 1 --text-pair for 2 --text; give one for each --text" in few.stderr
    assert run("predict", pulled, "--file", "-", "--text-pair", "c", stdin="a").exit_code == 2


def test_predict_takes_texts_and_pairs_from_lines_of_json(tmp_path: Path) -> None:
    saving.save(tiny.candidate(), tmp_path / "model")
    file = tmp_path / "texts.jsonl"
    pairs = [{"text": "chelsea won", "text_pair": "the cup"}, {"text": "shares fell", "text_pair": "sharply"}]
    for inputs in (pairs, [{"text": pair["text"]} for pair in pairs]):
        file.write_text("".join(json.dumps(line) + "\n" for line in inputs), encoding="utf-8")
        answers = json.loads(run("predict", tmp_path / "model", "--file", file, "--json").stdout)
        assert [{name: answer[name] for name in inputs[0]} for answer in answers] == inputs
    for line, problem in (("{", "no JSON at"), ('{"txt": "a"}', "no text in the column 'text'"), ("[1]", "object")):
        file.write_text('{"text": "a"}\n' + line + "\n", encoding="utf-8")
        broken = run("predict", tmp_path / "model", "--file", file)
        assert broken.exit_code == 2
        assert "texts.jsonl:2: " in broken.stderr
        assert problem in broken.stderr


def test_predict_answers_a_question_from_its_context(tmp_path: Path) -> None:
    saving.save(tiny.candidate(), tmp_path / "body")
    saving.save(QuestionAnswering(max_length=16).open_model(str(tmp_path / "body")), tmp_path / "model")
    alone = run("predict", tmp_path / "model", "--text", "goal")
    assert alone.exit_code == 2
    assert "--text QUESTION --text-pair CONTEXT" in alone.stderr
    result = run("predict", tmp_path / "model", "--text", "goal", "--text-pair", "the match", "--json")
    assert result.exit_code == 0, result.stderr
    (answer,) = json.loads(result.stdout)
    assert answer["label"] == "the match"[answer["start"] : answer["end"]] != ""


def test_predict_refuses_a_folder_that_is_no_saved_model(tmp_path: Path) -> None:
    result = run("predict", tmp_path, "--text", "a")
    assert result.exit_code == 2
    assert "holds no saved candidate" in result.stderr


def test_predict_needs_neither_ray_nor_optuna_nor_mlflow(pulled: Path) -> None:
    program = (
        "import sys\n"
        "for name in ('ray', 'optuna', 'mlflow'):\n"
        "    sys.modules[name] = None\n"
        "from autoopt.search.cli.main import autoopt\n"
        f"autoopt(['predict', {str(pulled)!r}, '--text', 'chelsea won'])\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("\t") == 1


def test_plan_shows_space_start_design_and_forecast_and_makes_no_study(finished: FinishedStudy) -> None:
    result = run("plan", finished.file, "--root", finished.root.path, "--set", "study=other", "--json")
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert plan["experiment"]["study"] == "other"
    assert set(plan["offered"]) == {"full_finetuning", "layer_drop", "recovery_finetuning"}
    assert plan["offered"]["layer_drop"]["knobs"]["keep"]["type"] in ("choice", "float", "int")
    assert "(options=" not in result.stdout
    assert plan["understood"]["rows"]["train"] == 60
    assert sum(counts["train"] for counts in plan["understood"]["classes"].values()) == 60
    assert plan["withheld"]["lora"] == "switched off in the experiment file"
    assert [step["strategy"] for step in plan["start_design"][0]] == ["full_finetuning"]
    assert plan["baseline_latency"]["p50_ms"] > 0
    assert 0 < plan["forecast"]["baseline_s"] < plan["forecast"]["search_s"]
    assert plan["forecast"]["confirmation_of_one_model_s"] == 0
    assert not finished.root.study("other").path.exists()
    shown = run("plan", finished.file, "--root", finished.root.path)
    assert "more seeds" not in shown.stdout
    assert "for 3 trials on 1 worker\n" in shown.stdout
    confirmed = run("plan", finished.file, "--root", finished.root.path, "--set", "search.confirm_seeds=3")
    assert "per model of the front, and for the baseline, to train it with 2 more seeds" in confirmed.stdout
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert "within a factor of two" in lines[1]
    assert "ms p50" in lines[2]
    assert lines[3].startswith("Calls: from texts to answers, as long as the validation texts: half have up to ")
    assert re.match(r"Training: on the CPU in \w+, 1 thread per worker", lines[4])
    assert lines[5].startswith("Goal: maximize quality, ")
    assert lines[7] == f"  autoopt search {finished.file} --root {finished.root.path}"
    assert ["examples", "60", "40", "40"] in [line.split() for line in lines]
    assert "to answer: one of " in shown.stdout
    assert "up to " in shown.stdout
    assert len(lines) < 40
    for part in ("max_length: 16", "First recipes", "one of 0.0001"):
        assert part not in shown.stdout
    detailed = run("plan", finished.file, "--root", finished.root.path, "--knobs")
    for part in ("max_length: 16", "First recipes", "keep: "):
        assert part in detailed.stdout


def test_plan_lists_the_rows_that_it_leaves_out(tmp_path: Path) -> None:
    file = write_experiment(tmp_path)
    texts = tmp_path / "texts.csv"
    texts.write_text(texts.read_text("utf-8") + "one, field too many,sport\n", encoding="utf-8")
    number = len(texts.read_text("utf-8").splitlines())
    shown = run("plan", file, "--root", tmp_path / "root")
    assert shown.exit_code == 0, shown.output
    (row,) = [line for line in shown.stdout.splitlines() if "cannot be read" in line]
    assert row.split()[:2] == ["1", "train"]
    assert f"texts.csv:{number}: 3 fields where the header has 2" in shown.stdout.replace("\n", "")
    refused = run("plan", file, "--root", tmp_path / "root", "--set", "data.tolerate=0")
    assert refused.exit_code == 2
    assert f"texts.csv:{number}: 3 fields where the header has 2" in refused.stderr


def test_each_plan_measures_its_own_model_and_writes_nothing_beside_its_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    latencies = {}
    for layers in (1, 16):
        file = write_experiment(tmp_path / f"{layers} layers")
        saving.save(tiny.candidate(layers=layers), tmp_path / "saved" / str(layers))
        shutil.rmtree(file.parent / "model")
        shutil.copytree(tmp_path / "saved" / str(layers), file.parent / "model")
        result = run("plan", file, "--root", tmp_path / "root", "--json")
        assert result.exit_code == 0, result.stderr
        latencies[layers] = json.loads(result.stdout)["baseline_latency"]["p50_ms"]
    assert latencies[16] > 4 * latencies[1]
    assert [path.name for path in temporary.rglob("*.json")] == []


@pytest.mark.slow
def test_a_study_goes_on_and_its_model_is_pulled_after_its_root_was_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_runner, "run", run_here)
    copied, root = tmp_path / "before", tmp_path / "after"
    file = write_experiment(tmp_path / "given")
    assert run("search", file, "--root", copied).exit_code == 0
    copied.rename(root)
    forget_artifact_places()
    result = run("search", file, "--root", root, "--set", "search.trials=4", "--json")
    assert result.exit_code == 0, result.stderr
    assert "MLflow at" not in result.stderr, "a failure of MLflow names its address"
    assert json.loads(run("status", "--root", root, "--json").stdout)[0]["trials"] == 4
    pulled = run("pull", "news", "-o", tmp_path / "model", "--root", root)
    assert pulled.exit_code == 0, pulled.stderr
    assert run("predict", tmp_path / "model", "--text", "chelsea won").exit_code == 0
    for command in (("show", "news", 0), ("front", "news"), ("status", "news")):
        shown = run(*command, "--root", root)
        assert shown.exit_code == 0
        assert str(copied) not in shown.stdout
    assert not copied.exists(), "nothing is written where the root was"

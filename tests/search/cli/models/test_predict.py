"""Files to predict: read as training reads them, answered row by row, and written in the format of their names."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.feather
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from autoopt.objectives.file_formats import read
from autoopt.objectives.tasks.causal_lm.task import CausalLM
from autoopt.objectives.tasks.question_answering.task import QuestionAnswering
from autoopt.objectives.tasks.sentence_pair.task import SentencePair
from autoopt.objectives.tasks.token_classification.task import TokenClassification
from autoopt.search.cli.main import autoopt
from autoopt.search.prediction.writing import WRITERS
from autoopt.strategies import saving
from tests import tiny

ROWS: list[dict[str, Any]] = [
    {"id": 7, "text": "chelsea won the cup", "label": "sport", "day": None},
    {"id": 8, "text": 'shares, "sharply" fell', "label": "business", "day": "monday"},
    {"id": 9, "text": "größer today", "label": "sport", "day": "today"},
]


def run(*arguments: object, stdin: str | bytes | None = None) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(autoopt, ["predict", *map(str, arguments)], input=stdin)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    saving.save(tiny.candidate(), folder)
    return folder


def csv_text(rows: list[dict[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def text_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{row['text']}\n" for row in rows)


def lines_of(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


CONTENTS: dict[str, Callable[[], bytes]] = {
    "a.jsonl": lambda: lines_of(ROWS).encode(),
    "A.JSONL": lambda: lines_of(ROWS).encode(),
    "blank.jsonl": lambda: ("\n" + lines_of(ROWS).replace("\n", "\n\n") + "  \n").encode(),
    "a.ndjson": lambda: lines_of(ROWS).encode(),
    "a.jsonl.gz": lambda: gzip.compress(lines_of(ROWS).encode()),
    "a.json": lambda: json.dumps(ROWS).encode(),
    "lines.json": lambda: lines_of(ROWS).encode(),
    "a.csv": lambda: csv_text(ROWS).encode(),
    "A.CSV.gz": lambda: gzip.compress(csv_text(ROWS).encode()),
    "a.parquet": lambda: parquet(ROWS),
    "a.txt": lambda: text_lines(ROWS).encode(),
}


def answers_to(model: Path, *texts: str) -> list[dict[str, Any]]:
    options = [word for text in texts for word in ("--text", text)]
    answers: list[dict[str, Any]] = json.loads(run(model, *options, "--json").stdout)
    return answers


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_is_read_as_training_reads_it(model: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CONTENTS[name]())
    result = run(model, "--file", tmp_path / name, "--json")
    assert result.exit_code == 0, result.stderr
    answers = json.loads(result.stdout)
    assert [answer["text"] for answer in answers] == [row["text"] for row in ROWS]
    expected = answers_to(model, *(row["text"] for row in ROWS))
    for answer, alone in zip(answers, expected, strict=True):
        assert answer["label"] == alone["label"]
        assert answer["score"] == pytest.approx(alone["score"], abs=1e-6)


def test_stdin_is_json_lines_if_its_first_line_is(model: Path) -> None:
    result = run(model, "--file", "-", "--json", stdin=lines_of(ROWS))
    assert [answer["text"] for answer in json.loads(result.stdout)] == [row["text"] for row in ROWS]
    pairs = [{"text": "chelsea won", "text_pair": "the cup"}, {"text": "shares fell", "text_pair": "sharply"}]
    answers = json.loads(run(model, "--file", "-", "--json", stdin=lines_of(pairs)).stdout)
    assert [{name: answer[name] for name in pairs[0]} for answer in answers] == pairs
    cut = run(model, "--file", "-", stdin='{"text": "chelsea')
    assert (cut.exit_code, cut.stdout) == (2, "")
    assert "stdin:1: no JSON at character" in cut.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\nchelsea,sport\n,sport\n", "a.csv:3: the text in the column 'text' is blank"),
        ("a.jsonl", '{"text": "a"}\n{"text": null}\n', "a.jsonl:2: there is no text in the column 'text'"),
        ("a.jsonl", '{"text": "a"}\n{"txt": "b"}\n', "a.jsonl:2: there is no text in the column 'text'"),
        ("a.jsonl", '{"text": NaN}\n', "a.jsonl:1: there is no text in the column 'text'"),
        ("a.jsonl", '{"text": "a"}\n{"text": 5}\n', "a.jsonl:2: the column 'text' holds 5 (int), no text"),
        ("a.jsonl", '{"text": {"a": 1}}\n', "a.jsonl:1: the column 'text' holds {'a': 1} (dict), no text"),
        ("a.jsonl", '{"inhalt": "a", "n": 1}\n', "its columns are 'inhalt', 'n'; name one with --text-column"),
        ("a.txt", "chelsea won\n\nshares fell\n", "a.txt:2: the text in the column 'text' is blank"),
        ("a.txt", '{"text": "chelsea"}\n', "a.txt:1: this line of text is a JSON object"),
        ("a.log", "chelsea\n", "a.log has an unsupported format; convert it to one of .arrow"),
        ("a", "chelsea\n", "a has an unsupported format"),
        ("a.csv", "text,label\n", "a.csv has a header and no rows"),
    ],
)
def test_what_is_no_text_is_refused_with_its_row_before_anything_is_predicted(
    model: Path, tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    result = run(model, "--file", tmp_path / name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_json_among_lines_of_text_on_stdin_is_no_text(model: Path) -> None:
    result = run(model, "--file", "-", stdin='chelsea won\n{"text": "shares fell"}\n')
    assert (result.exit_code, result.stdout) == (2, "")
    assert "stdin:2: this line of text is a JSON object" in result.stderr
    assert run(model, "--file", "-", stdin="{chelsea} won\n").exit_code == 0
    assert "there is nothing on stdin" in run(model, "--file", "-", stdin="").stderr


def test_columns_are_chosen_by_name(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,body,more\nshares fell,chelsea won,the cup\n", encoding="utf-8")
    (chosen,) = json.loads(run(model, "--file", file, "--text-column", "body", "--json").stdout)
    assert chosen["text"] == "chelsea won"
    options = ("--text-column", "body", "--pair-column", "more")
    (pair,) = json.loads(run(model, "--file", file, *options, "--json").stdout)
    assert (pair["text"], pair["text_pair"]) == ("chelsea won", "the cup")
    wrong = run(model, "--file", file, "--text-column", "boddy")
    assert wrong.exit_code == 2
    assert "has no column 'boddy', which --text-column names; did you mean 'body'" in wrong.stderr
    assert run(model, "--text", "a", "--text-column", "body").exit_code == 2


def test_a_model_reads_the_columns_that_it_was_trained_on(tmp_path: Path) -> None:
    columns = {"text": "body", "text_pair": None}
    saving.save(tiny.candidate(), tmp_path / "model", notes={"columns": columns})
    file = tmp_path / "a.csv"
    file.write_text("text,text_pair,body\nshares,fell,chelsea won\n", encoding="utf-8")
    (answer,) = json.loads(run(tmp_path / "model", "--file", file, "--json").stdout)
    assert (answer["text"], answer.get("text_pair")) == ("chelsea won", None)
    file.write_text("text,label\nshares fell,business\n", encoding="utf-8")
    (answer,) = json.loads(run(tmp_path / "model", "--file", file, "--json").stdout)
    assert answer["text"] == "shares fell"


@pytest.mark.parametrize("suffix", [*WRITERS, ".csv.gz", ".jsonl.gz"])
def test_answers_are_written_beside_all_columns_in_the_format_of_the_name(
    model: Path, tmp_path: Path, suffix: str
) -> None:
    source, output = tmp_path / "in.parquet", tmp_path / f"out{suffix}"
    source.write_bytes(parquet(ROWS))
    result = run(model, "--file", source, "--output", output)
    assert (result.exit_code, result.stdout) == (0, f"Wrote 3 rows to {output}\n"), result.stderr
    table = read(output)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    expected = answers_to(model, *(row["text"] for row in ROWS))
    assert table.columns == ("id", "text", "label", "day", "predicted_label", "predicted_score", "predicted_scores")
    for row, given, answer in zip(rows, ROWS, expected, strict=True):
        assert str(row["id"]) == str(given["id"])
        assert row["text"] == given["text"]
        assert (row["day"] or None) == given["day"]
        assert row["predicted_label"] == answer["label"]
        assert float(str(row["predicted_score"])) == pytest.approx(answer["score"], abs=1e-6)
        scores = row["predicted_scores"]
        scores = json.loads(scores) if isinstance(scores, str) else scores
        assert scores == pytest.approx(answer["scores"], abs=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet", output.name]


def test_a_file_is_replaced_only_on_request_and_kept_if_something_fails(model: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.csv"
    source.write_text(lines_of(ROWS), encoding="utf-8")
    output.write_text("mine", encoding="utf-8")
    assert "exists; give another file, or --force" in run(model, "--file", source, "-o", output).stderr
    assert "is the file that is read" in run(model, "--file", source, "-o", source, "--force").stderr
    assert "format that is not written" in run(model, "--file", source, "-o", tmp_path / "out.xlsx").stderr
    source.write_text(lines_of([{"text": "a"}] * 300 + [{"text": "a", "new": 1}]), encoding="utf-8")
    late = run(model, "--file", source, "-o", output, "--force")
    assert late.exit_code == 2
    assert "the column 'new' occurs in a later row only" in late.stderr
    assert output.read_text(encoding="utf-8") == "mine"
    assert run(model, "--file", source, "-o", tmp_path / "out.jsonl", "--json").stdout.split() == [
        *("{", '"rows":', "301,", '"file":', f'"{tmp_path / "out.jsonl"}"', "}")
    ]
    assert len(read(tmp_path / "out.jsonl").rows) == 301
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.csv", "out.jsonl"]


def test_columns_of_changing_types_go_into_json_lines_but_not_into_parquet(model: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(lines_of([{"text": "a", "n": 1}, *[{"text": "a", "n": 2}] * 300, {"text": "a", "n": "x"}]))
    refused = run(model, "--file", source, "-o", tmp_path / "out.parquet")
    assert refused.exit_code == 2
    assert "the column 'n' holds int64 in the first rows and something else later" in refused.stderr
    assert run(model, "--file", source, "-o", tmp_path / "out.jsonl").exit_code == 0


def saved(task: Any, folder: Path) -> Path:
    saving.save(tiny.candidate(), folder / "body")
    saving.save(task.open_model(str(folder / "body")), folder / "model")
    return folder / "model"


def test_questions_come_in_the_columns_of_training_and_from_squad(tmp_path: Path) -> None:
    model = saved(QuestionAnswering(max_length=16), tmp_path)
    question = {"question": "who won", "context": "chelsea won the cup", "id": "q1"}
    answers = json.loads(run(model, "--file", "-", "--json", stdin=lines_of([question])).stdout)
    assert (answers[0]["text"], answers[0]["text_pair"]) == ("who won", "chelsea won the cup")
    squad = {"context": question["context"], "qas": [{"id": "q1", "question": "who won", "answers": []}]}
    (tmp_path / "s.json").write_text(json.dumps({"data": [{"title": "t", "paragraphs": [squad]}]}))
    assert json.loads(run(model, "--file", tmp_path / "s.json", "--json").stdout) == answers
    (tmp_path / "c.csv").write_text("frage,kontext\nwho won,chelsea won the cup\n")
    options = ("--question-column", "frage", "--context-column", "kontext")
    assert json.loads(run(model, "--file", tmp_path / "c.csv", *options, "--json").stdout) == answers
    output = tmp_path / "out.csv"
    assert run(model, "--file", tmp_path / "c.csv", *options, "-o", output).exit_code == 0
    assert read(output).columns[-2:] == ("predicted_start", "predicted_end")
    (tmp_path / "one.csv").write_text("question\nwho won\n")
    alone = run(model, "--file", tmp_path / "one.csv")
    assert alone.exit_code == 2
    assert "this model reads two texts, and only the column 'question'" in alone.stderr


def test_pairs_need_both_columns(tmp_path: Path) -> None:
    model = saved(SentencePair(labels=("no", "yes"), max_length=16), tmp_path)
    (tmp_path / "a.csv").write_text("premise,hypothesis\nchelsea won,the cup\n")
    (answer,) = json.loads(run(model, "--file", tmp_path / "a.csv", "--json").stdout)
    assert (answer["text"], answer["text_pair"]) == ("chelsea won", "the cup")
    (tmp_path / "b.csv").write_text("premise,hypothesis\nchelsea won,\n")
    assert "b.csv:2: the text in the column 'hypothesis' is blank" in run(model, "--file", tmp_path / "b.csv").stderr


def test_entities_are_written_with_their_places(tmp_path: Path) -> None:
    model = saved(TokenClassification(labels=("O", "PER"), max_length=16), tmp_path)
    (tmp_path / "a.jsonl").write_text(lines_of([{"tokens": ["chelsea", "won"]}, {"tokens": ["shares"]}]))
    for name in ("out.parquet", "out.jsonl"):
        assert run(model, "--file", tmp_path / "a.jsonl", "-o", tmp_path / name).exit_code == 0
    table, lines = read(tmp_path / "out.parquet"), read(tmp_path / "out.jsonl")
    position = table.columns.index("predicted_entities")
    expected = [row[lines.columns.index("predicted_entities")] for row in lines.rows]
    assert [row[position] for row in table.rows] == expected
    for name in ("conll.txt", "conll.tsv", "a.conll"):
        (tmp_path / name).write_text("chelsea\tB-PER\nwon\tO\n\nshares\tO\nfell\tO\n\n" * 4)
        answers = json.loads(run(model, "--file", tmp_path / name, "--json").stdout)
        assert [answer["text"] for answer in answers][:2] == ["chelsea won", "shares fell"]
    refused = run(model, "--file", tmp_path / "a.jsonl", "--pair-column", "tokens")
    assert "this model reads single texts; leave out --pair-column" in refused.stderr


def test_instructions_have_their_input_appended_as_in_training() -> None:
    from autoopt.objectives.inputs import InputColumns
    from autoopt.objectives.tables.table import Table

    table = Table("a", ("instruction", "input"), [["Sum up.", " a text "], ["Go.", None]], ["a:1", "a:2"])
    assert CausalLM.inputs(table, InputColumns("instruction")) == ["Sum up.\na text", "Go."]


def test_surrounding_blanks_count_as_little_as_in_training(model: Path) -> None:
    plain, blank = answers_to(model, "chelsea won", "  chelsea won \t")
    assert plain["scores"] == pytest.approx(blank["scores"], abs=1e-6)


@pytest.mark.slow
def test_a_terminal_gets_a_bar_on_stderr_and_a_file_does_not(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n" + "chelsea won\n" * 600)
    program = "from autoopt.search.cli.main import main; main()"
    command = [sys.executable, "-c", program, "predict", str(model), "--file", str(tmp_path / "a.csv")]
    terminal, end = pty.openpty()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=end) as process:
        os.close(end)
        assert process.stdout
        lines = process.stdout.read().splitlines()
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    assert len(lines) == 600
    assert b"predicting" in shown
    assert b"600/600" in shown
    quiet = subprocess.run(command, capture_output=True, check=True)
    assert quiet.stderr == b""


def peak_kib(model: Path, file: Path, output: Path) -> int:
    program = (
        "from pathlib import Path; from autoopt.search.cli.main import autoopt\n"
        "class Fast:\n"
        "    def __init__(self, candidate): self.candidate = candidate\n"
        "    def predict(self, texts): return [{'label': 'a', 'score': 0.5, 'scores': {'a': 0.5}} for _ in texts]\n"
        "import autoopt.search.api as api; load = api.load_model\n"
        "api.load_model = lambda folder: Fast(load(folder).candidate)\n"
        f"autoopt(['predict', {str(model)!r}, '--file', {str(file)!r}, '-o', {str(output)!r}], standalone_mode=False)\n"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".txt"])
@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_rows(model: Path, tmp_path: Path, suffix: str) -> None:
    text = "chelsea won the cup today after a match of the season " * 10
    peaks = []
    for count in (1_000, 100_000):
        file = tmp_path / f"{count}{suffix}"
        rows = [{"id": number, "text": f"{text}{number}"} for number in range(count)]
        if suffix == ".parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=5_000)
        else:
            contents = {".csv": csv_text, ".jsonl": lines_of, ".txt": text_lines}
            file.write_text(contents[suffix](rows), encoding="utf-8")
        output = tmp_path / f"out-{count}{suffix if suffix != '.txt' else '.csv'}"
        peaks.append(peak_kib(model, file, output))
    print(f"{suffix}: {peaks} KiB")
    assert peaks[1] - peaks[0] < 30_000, f"55 MB of text took {peaks} KiB"

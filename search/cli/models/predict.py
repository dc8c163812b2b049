"""``autoopt predict``: run a pulled model on texts or on a file of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoopt.search.cli.options import console, json_option, print_json

if TYPE_CHECKING:
    from autoopt.objectives.task import Task
    from autoopt.search.api import LoadedModel
    from autoopt.search.prediction.reading import Batch, ColumnChoice


@click.command(short_help="Run a pulled model on texts.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--text", "texts", multiple=True, help="Text to predict; repeatable.")
@click.option(
    "--text-pair",
    "pairs",
    multiple=True,
    help="Second text of a pair, or context of a question; one for each --text, in the same order.",
)
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Data file in any format that training reads, or - for stdin: a text on each line, or JSON Lines.",
)
@click.option(
    "--text-column",
    "--question-column",
    "text_column",
    metavar="NAME",
    help="Column of the texts, or of the questions.  [default: as in training, or the one with a usual name]",
)
@click.option(
    "--pair-column",
    "--context-column",
    "pair_column",
    metavar="NAME",
    help="Column of the second texts, or of the contexts of questions.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File for the answers beside all columns of the input, in the format of its name: .csv, .jsonl, .parquet, ...",
)
@click.option("--force", is_flag=True, help="Replace the file of --output.")
@json_option
def predict(
    folder: Path,
    texts: tuple[str, ...],
    pairs: tuple[str, ...],
    file: Path | None,
    text_column: str | None,
    pair_column: str | None,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Run the model in FOLDER and print the label and the score of each text, separated by a tab.

    Every row gets an answer, in order. A row without a text is an error that names it, before anything is predicted.
    """
    from autoopt.search.api import load_model
    from autoopt.search.prediction.reading import ColumnChoice
    from autoopt.search.prediction.writing import check_output
    from autoopt.strategies.saving import describe
    from autoopt.strategies.serving import is_student

    if bool(texts) == (file is not None):
        raise click.UsageError("give texts with --text or a file with --file, one of the two")
    if pairs and len(pairs) != len(texts):
        raise click.UsageError(f"got {len(pairs)} --text-pair for {len(texts)} --text; give one for each --text")
    if file is None and (text_column or pair_column):
        raise click.UsageError("--text-column and --pair-column name columns of a --file, and there is none")
    if output is not None:
        check_output(output, source=file, force=force)
    model = load_model(folder)
    description = describe(folder)
    if not is_student(description["edits"]):
        _use_one_thread()
    choice = ColumnChoice(text_column, pair_column, description["notes"].get("columns"))
    batches, count = _open(model.candidate.task, texts, pairs, file, choice)  # type: ignore[arg-type]
    with _progress(count) as advance:
        if output is not None:
            rows = _write(model, batches, output, advance)
        else:
            _print(model, batches, advance, as_json=as_json)
    if output is not None:
        print_json({"rows": rows, "file": str(output)}) if as_json else click.echo(f"Wrote {rows:,} rows to {output}")


def _use_one_thread() -> None:
    """Let torch compute on one thread."""
    import torch

    torch.set_num_threads(1)


def _open(
    task: Task, texts: tuple[str, ...], pairs: tuple[str, ...], file: Path | None, choice: ColumnChoice
) -> tuple[Iterator[Batch], int | None]:
    """Return the batches and the number of rows, for which a file is read once to its end; None for stdin.

    Raises ``DataError`` for a row without a text.
    """
    from autoopt.search.prediction.reading import file_batches, stdin_batches, text_batches

    if file is None:
        return text_batches(texts, pairs), len(texts)
    if str(file) == "-":
        return stdin_batches(sys.stdin.buffer, task, choice), None
    count = sum(len(batch.inputs) for batch in file_batches(file, task, choice))
    return file_batches(file, task, choice), count


def _write(model: LoadedModel, batches: Iterator[Batch], output: Path, advance: Callable[[int], None]) -> int:
    """Write all answers and return their number."""
    from autoopt.search.prediction.answering import answered, rows_with_answers
    from autoopt.search.prediction.writing import writer

    count = 0
    with writer(output) as write:
        for batch, answers in answered(model, batches):
            write(rows_with_answers(batch, answers))
            count += len(answers)
            advance(len(answers))
    return count


def _print(model: LoadedModel, batches: Iterator[Batch], advance: Callable[[int], None], *, as_json: bool) -> None:
    from autoopt.search.prediction.answering import answered, shown_answers
    from autoopt.search.report.sanitize import printable

    separators = iter(["["])
    for batch, answers in answered(model, batches):
        for answer in shown_answers(batch, answers):
            if as_json:
                document = json.dumps(answer, indent=2, allow_nan=False).replace("\n", "\n  ")
                click.echo(f"{next(separators, ',')}\n  {document}", nl=False)
            else:
                click.echo(f"{printable(answer['label'])}\t{answer['score']:.4f}")
        advance(len(answers))
    if as_json:
        click.echo(next(separators, "\n") + "]")


@contextmanager
def _progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr while rows are predicted, if stderr is a terminal; yield what advances it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("predicting", total=total)
        yield lambda rows: progress.advance(task, rows)

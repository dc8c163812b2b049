"""``autoopt pull`` and ``autoopt predict``: copy a model out of the registry, and run it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoopt.search.cli.options import command_line, json_option, print_json, root_option, studies_root

if TYPE_CHECKING:
    from autoopt.search.api import LoadedModel

CHUNK = 256
"""Number of texts read and predicted at a time."""


@click.command(short_help="Copy a registered model into a folder.")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to copy the model into.")
@click.option("--uri", help="MLflow server.  [default: the one of the study]", metavar="ADDRESS")
@click.option("--force", is_flag=True, help="Replace a model that is already in the folder.")
@root_option
@json_option
def pull(name: str, output: Path, uri: str | None, force: bool, root: Path | None, as_json: bool) -> None:
    """Copy a registered model into a folder and verify its checksums.

    NAME is STUDY@ALIAS (champion, fastest, smallest or balanced), STUDY/VERSION, or STUDY for its champion.
    """
    from autoopt.search.backends import mlflow_pull
    from autoopt.search.names import ModelReference

    home = studies_root(root)
    reference = ModelReference.parse(name)
    address = uri or _tracking_address(home.study(reference.name).experiment)
    folder = mlflow_pull.pull(name, output, root=home, uri=address, force=force)
    if as_json:
        print_json({"model": str(reference), "folder": str(folder)})
    else:
        click.echo(f"Pulled {reference} into {folder}; all checksums match. To use it:")
        click.echo(f"  {command_line('predict', output, text='...')}")


def _tracking_address(experiment_file: Path) -> str | None:
    """Return the MLflow address in a study's experiment file; None for the database under the root."""
    from autoopt.search.experiment.experiment import load_experiment

    return load_experiment(experiment_file).tracking.address() if experiment_file.is_file() else None


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
    help="File with one text per line, or - for stdin; in a .jsonl file, objects with text and text_pair.",
)
@json_option
def predict(folder: Path, texts: tuple[str, ...], pairs: tuple[str, ...], file: Path | None, as_json: bool) -> None:
    """Run the model in FOLDER and print the label and the score of each text, separated by a tab."""
    from autoopt.search.api import load_model
    from autoopt.search.report.sanitize import printable

    if bool(texts) == (file is not None):
        raise click.UsageError("give texts with --text or a file with --file, one of the two")
    if pairs and len(pairs) != len(texts):
        raise click.UsageError(f"got {len(pairs)} --text-pair for {len(texts)} --text; give one for each --text")
    model = load_model(folder)
    predictions = _predict(model, zip(texts, pairs, strict=True) if pairs else texts or _read_texts(file))
    if as_json:
        print_json(list(predictions))
        return
    for prediction in predictions:
        click.echo(f"{printable(prediction['label'])}\t{prediction['score']:.4f}")


def _predict(model: LoadedModel, texts: Iterable[str | tuple[str, str]]) -> Iterator[dict[str, Any]]:
    import torch

    torch.set_num_threads(1)
    remaining = iter(texts)
    while chunk := list(islice(remaining, CHUNK)):
        for text, prediction in zip(chunk, model.predict(chunk), strict=True):
            inputs = {"text": text} if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}
            yield {**inputs, **prediction}


def _read_texts(file: Path | None) -> Iterator[str | tuple[str, str]]:
    """Yield the text or the pair on each line of a file or of stdin.

    Raises ``DataError`` with the place if a line cannot be read.
    """
    from autoopt.objectives.tables.text_lines import decode, lines
    from autoopt.strategies.errors import DataError

    if file is None or str(file) == "-":
        offset = 0
        for number, raw in enumerate(sys.stdin.buffer, start=1):
            yield decode(raw, path=Path("stdin"), line=number, offset=offset).rstrip("\r\n")
            offset += len(raw)
        return
    if not file.is_file():
        raise DataError(f"there is no file {file}; give a text file with one text per line, or - for stdin")
    for number, line in lines(file):
        yield _parse_json_line(line, f"{file}:{number}") if file.suffix == ".jsonl" else line.rstrip("\r\n")


def _parse_json_line(line: str, place: str) -> str | tuple[str, str]:
    """Return the text, or the pair of texts, in a line of JSON."""
    from autoopt.strategies.errors import DataError

    try:
        document = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place}: not valid JSON: {error}") from None
    texts = [document.get(name) for name in ("text", "text_pair")] if isinstance(document, dict) else []
    match texts:
        case [str(text), None]:
            return text
        case [str(text), str(pair)]:
            return text, pair
    raise DataError(f'{place}: expected an object such as {{"text": "...", "text_pair": "..."}}; text_pair is optional')

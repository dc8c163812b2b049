"""``autoopt pull`` and ``autoopt predict``: take a model out of the registry, and use it."""

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
"""So many texts are read and answered at a time."""


@click.command(short_help="Take a model out of the registry into a folder.")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The folder to put it in.")
@click.option("--uri", help="Another MLflow than the study's own.", metavar="ADDRESS")
@click.option("--force", is_flag=True, help="Replace a model that is in the folder already.")
@root_option
@json_option
def pull(name: str, output: Path, uri: str | None, force: bool, root: Path | None, as_json: bool) -> None:
    """Take a model out of the registry into a folder, its checksums verified.

    NAME is name@alias (champion, fastest, smallest, balanced), name/version, or just the name for its champion.
    """
    from autoopt.search.backends import mlflow_pull
    from autoopt.search.names import ModelReference

    home = studies_root(root)
    wanted = ModelReference.parse(name)
    address = uri or _address(home.study(wanted.name).experiment)
    folder = mlflow_pull.pull(name, output, root=home, uri=address, force=force)
    if as_json:
        print_json({"model": str(wanted), "folder": str(folder)})
    else:
        click.echo(f"{wanted} is in {folder}, every file as it was registered. To use it:")
        click.echo(f"  {command_line('predict', output, text='...')}")


def _address(experiment: Path) -> str | None:
    """Where the study's MLflow is; its own under the root where nothing else was said."""
    from autoopt.search.experiment.experiment import load_experiment

    return load_experiment(experiment).tracking.address() if experiment.is_file() else None


@click.command(short_help="Let a pulled model answer.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--text", "texts", multiple=True, help="A text; repeatable.")
@click.option(
    "--text-pair",
    "pairs",
    multiple=True,
    help="What belongs to a --text, in their order: the second text of a pair, or the context of a question.",
)
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A text on each line, - is stdin; in a .jsonl file an object with text and text_pair.",
)
@json_option
def predict(folder: Path, texts: tuple[str, ...], pairs: tuple[str, ...], file: Path | None, as_json: bool) -> None:
    """Let a pulled model answer: its label and its score for each text, a line each, separated by a tab."""
    from autoopt.search.api import load_model

    if bool(texts) == (file is not None):
        raise click.UsageError("give texts with --text, or a file with --file; one of the two")
    if pairs and len(pairs) != len(texts):
        raise click.UsageError(
            f"{len(pairs)} --text-pair and {len(texts)} --text were given; give one --text-pair for each --text"
        )
    model = load_model(folder)
    answers = _answers(model, zip(texts, pairs, strict=True) if pairs else texts or _lines(file))
    if as_json:
        print_json(list(answers))
        return
    for answer in answers:
        click.echo(f"{_on_a_line(answer['label'])}\t{answer['score']:.4f}")


def _answers(model: LoadedModel, texts: Iterable[str | tuple[str, str]]) -> Iterator[dict[str, Any]]:
    import torch

    torch.set_num_threads(1)
    waiting = iter(texts)
    while chunk := list(islice(waiting, CHUNK)):
        for text, answer in zip(chunk, model.predict(chunk), strict=True):
            given = {"text": text} if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}
            yield {**given, **answer}


def _lines(file: Path | None) -> Iterator[str | tuple[str, str]]:
    """Every line, without its end, or what it holds; raises ``DataError`` with the place of what cannot be read."""
    from autoopt.objectives.tables.text_lines import decode, lines
    from autoopt.strategies.errors import DataError

    if file is None or str(file) == "-":
        offset = 0
        for number, raw in enumerate(sys.stdin.buffer, start=1):
            yield decode(raw, path=Path("stdin"), line=number, offset=offset).rstrip("\r\n")
            offset += len(raw)
        return
    if not file.is_file():
        raise DataError(f"there is no file {file}; give a text file with a text on each line, or - for stdin")
    for number, line in lines(file):
        yield _input(line, f"{file}:{number}") if file.suffix == ".jsonl" else line.rstrip("\r\n")


def _input(line: str, place: str) -> str | tuple[str, str]:
    """A text, or a pair of them, out of a line of JSON."""
    from autoopt.strategies.errors import DataError

    try:
        given = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place}: this is no JSON: {error}") from None
    texts = [given.get(name) for name in ("text", "text_pair")] if isinstance(given, dict) else []
    match texts:
        case [str(text), None]:
            return text
        case [str(text), str(pair)]:
            return text, pair
    raise DataError(
        f'{place}: a line is an object such as {{"text": "...", "text_pair": "..."}}, the second one optional'
    )


def _on_a_line(label: str) -> str:
    from autoopt.search.report.sanitize import printable

    return printable(label)

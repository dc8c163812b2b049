"""``autoopt convert``: write pickled weights as safetensors, the only format that is opened."""

from __future__ import annotations

from pathlib import Path

import click

from autoopt.search.cli.options import json_option, print_json


@click.command(short_help="Write pickled weights as safetensors.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="New folder for the whole model.  [default: the weights are written into FOLDER]",
)
@json_option
def convert(folder: Path, output: Path | None, as_json: bool) -> None:
    """Write the pytorch_model.bin of the model in FOLDER as model.safetensors.

    A pickled file can run code when it is read. Here a separate process without network reads it, as tensors only; a
    file that asks for more is refused. Nothing is overwritten.
    """
    from autoopt.objectives.weights.conversion import convert as convert_weights
    from autoopt.search.report.formats import format_count

    written = convert_weights(folder, output)
    if as_json:
        document = {"folder": str(written.folder), "files": list(written.files), "tensors": written.tensors}
        print_json({**document, "bytes": written.size})
    else:
        click.echo(f"Wrote {format_count(written.tensors, 'tensor')}, {written.size / 1e6:,.1f} MB, into:")
        for name in written.files:
            click.echo(f"  {written.folder / name}")
        click.echo(f"To use it, write in an experiment file:\n  model: {written.folder}")

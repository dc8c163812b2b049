"""``autoopt pull`` and ``autoopt export``: copy a model out of the registry, and into another library's format."""

from __future__ import annotations

from pathlib import Path

import click

from autoopt.search.cli.options import command_line, json_option, print_json, root_option, studies_root


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


@click.command(short_help="Write a pulled model for sentence-transformers or model2vec.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@json_option
def export(folder: Path, output: Path, as_json: bool) -> None:
    """Write the model in FOLDER as one that sentence-transformers opens, or model2vec if it is static embeddings.

    ``SentenceTransformer(OUTPUT).encode(texts)`` returns its logits, in the order of the classes of config.json. For a
    classifier that pools all tokens; transformers opens the others as they are. ``StaticModel.from_pretrained(OUTPUT)``
    returns the vectors of static embeddings; their head is in head.safetensors.
    """
    from autoopt.strategies.errors import UsageError
    from autoopt.strategies.exporting import export_sentence_transformer
    from autoopt.strategies.students.model2vec_folder import export_model2vec, is_static

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is not empty; give a folder that does not exist yet")
    if static := is_static(folder):
        export_model2vec(folder, output)
    else:
        export_sentence_transformer(folder, output)
    if as_json:
        print_json({"model": str(folder), "folder": str(output)})
    else:
        opens = "StaticModel.from_pretrained" if static else "SentenceTransformer"
        click.echo(f"Wrote {output}; to use it: {opens}({str(output)!r}).encode(texts)")


def _tracking_address(experiment_file: Path) -> str | None:
    """Return the MLflow address in a study's experiment file; None for the database under the root."""
    from autoopt.search.experiment.experiment import load_experiment

    return load_experiment(experiment_file).tracking.address() if experiment_file.is_file() else None

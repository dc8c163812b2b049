"""``autoopt cache``: list, check and prune the stage store."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoopt.search.cli.options import console, json_option, print_json, root_option, studies_root

if TYPE_CHECKING:
    from autoopt.search.trial.stage_eviction import Entry


@click.group(short_help="List, check and prune the stored stages.")
def cache() -> None:
    """List, check and prune the stage store: trained models that trials and studies share.

    Stages that a running search needs are never removed. Removed stages are computed again when needed.
    """


@cache.command("list")
@root_option
@json_option
def list_stages(root: Path | None, as_json: bool) -> None:
    """List the stored stages, the most recently used last."""
    from autoopt.search.report.formats import format_bytes, format_seconds
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.report.tables import new_table
    from autoopt.search.trial.stage_eviction import entries

    folder = studies_root(root).stages
    stages = entries(folder)
    if as_json:
        print_json([_stage_json(stage) for stage in stages])
        return
    table = new_table("address", "made by", "size", "compute time", "last used")
    for stage in stages:
        used = datetime.fromtimestamp(stage.used).astimezone().strftime("%Y-%m-%d %H:%M")
        cells = (stage.address[:12], stage.made_by, format_bytes(stage.size), format_seconds(stage.seconds), used)
        table.add_row(*map(plain_text, cells))
    console().print(table)
    click.echo(f"{len(stages)} stages, {format_bytes(sum(stage.size for stage in stages))} in {folder}")


@cache.command("check")
@root_option
@json_option
def check_stages(root: Path | None, as_json: bool) -> None:
    """Compare every file with its sha256, and set corrupt stages aside."""
    from autoopt.search.trial.stage_eviction import check, entries

    folder = studies_root(root).stages
    count, corrupt = len(entries(folder)), check(folder)
    if as_json:
        print_json({"checked": count, "broken": [stage.address for stage in corrupt]})
        return
    for stage in corrupt:
        click.echo(f"{stage.address}: corrupt; set aside, and computed again when needed")
    click.echo(f"{count - len(corrupt)} of {count} stages are intact")


@cache.command("prune", short_help="Remove stages until at most SIZE is left.")
@click.option("--to", "limit", default="0B", show_default=True, metavar="SIZE", help="Size to keep, such as 5GB.")
@root_option
@json_option
def prune(limit: str, root: Path | None, as_json: bool) -> None:
    """Remove incomplete and corrupt stages, then the least recently used until at most SIZE is left."""
    import shutil

    from autoopt.objectives import units
    from autoopt.search.report.formats import format_bytes
    from autoopt.search.trial.stage_eviction import evict, leftovers, pinned_addresses

    size = int(units.parse_quantity(limit, units.SIZE))
    folder = studies_root(root).stages
    incomplete = leftovers(folder, pinned=pinned_addresses(folder))
    for path in incomplete:
        shutil.rmtree(path, ignore_errors=True)
    removed = evict(folder, size)
    freed = sum(stage.size for stage in removed)
    if as_json:
        document = {"removed": [stage.address for stage in removed], "freed": freed, "leftovers": len(incomplete)}
        print_json(document)
        return
    click.echo(f"removed {len(removed)} stages ({format_bytes(freed)}) and {len(incomplete)} incomplete ones")


def _stage_json(stage: Entry) -> dict[str, Any]:
    return {
        "address": stage.address,
        "made_by": stage.made_by,
        "size": stage.size,
        "seconds": stage.seconds,
        "used": stage.used,
    }

"""``autoopt cache``: what the stage store holds, whether it is sound, and what may go."""

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
    """Look after the stage store: trained models that trials and studies share.

    What a search needs now is never removed, and what was removed is computed again when it is wanted.
    """


@cache.command("list")
@root_option
@json_option
def list_entries(root: Path | None, as_json: bool) -> None:
    """List what is stored, what was used last at the end."""
    from autoopt.search.report import formats, tables
    from autoopt.search.report.sanitize import plain_text
    from autoopt.search.trial.stage_eviction import entries

    found = entries(studies_root(root).stages)
    if as_json:
        print_json([_described(entry) for entry in found])
        return
    shown = tables.table("address", "made by", "size", "took", "last used")
    for entry in found:
        used = datetime.fromtimestamp(entry.used).astimezone().strftime("%Y-%m-%d %H:%M")
        cells = (
            entry.address[:12],
            entry.made_by,
            f"{entry.size / 1e6:.1f} MB",
            formats.seconds_of(entry.seconds),
            used,
        )
        shown.add_row(*map(plain_text, cells))
    console().print(shown)
    click.echo(f"{len(found)} stages, {sum(entry.size for entry in found) / 1e9:.2f} GB in {studies_root(root).stages}")


@cache.command("check")
@root_option
@json_option
def check_entries(root: Path | None, as_json: bool) -> None:
    """Compare every file with its sha256, and put aside what is not what was written."""
    from autoopt.search.trial.stage_eviction import check, entries

    folder = studies_root(root).stages
    count, broken = len(entries(folder)), check(folder)
    if as_json:
        print_json({"checked": count, "broken": [entry.address for entry in broken]})
        return
    for entry in broken:
        click.echo(f"{entry.address}: not what was written; put aside, and computed again when it is wanted")
    click.echo(f"{count - len(broken)} of {count} stages are sound")


@cache.command("prune")
@click.option("--to", "limit", default="0B", show_default=True, metavar="SIZE", help="How much may stay, such as 5GB.")
@root_option
@json_option
def prune(limit: str, root: Path | None, as_json: bool) -> None:
    """Remove what was used longest ago, and what was cut off or put aside, until the rest takes SIZE at most."""
    import shutil

    from autoopt.objectives import units
    from autoopt.search.trial.stage_eviction import evict, leftovers, pinned_addresses

    size = int(units.parse_quantity(limit, units.SIZE))
    folder = studies_root(root).stages
    rest = leftovers(folder, pinned=pinned_addresses(folder))
    for path in rest:
        shutil.rmtree(path, ignore_errors=True)
    gone = evict(folder, size)
    freed = sum(entry.size for entry in gone)
    if as_json:
        print_json({"removed": [entry.address for entry in gone], "freed": freed, "leftovers": len(rest)})
        return
    click.echo(f"removed {len(gone)} stages, {freed / 1e9:.2f} GB, and {len(rest)} leftovers")


def _described(entry: Entry) -> dict[str, Any]:
    return {
        "address": entry.address,
        "made_by": entry.made_by,
        "size": entry.size,
        "seconds": entry.seconds,
        "used": entry.used,
    }

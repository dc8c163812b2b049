"""What each strategy gives when it is used alone: quality and latency against the baseline, on BBC News with MiniLM.

    python tests/benchmarks/strategies_alone.py [--only NAME ...] [--experiment FILE] [--set KEY=VALUE ...]
        [--root FOLDER]

"Alone" is the least recipe in which a strategy does something: what trains before the task is learned is followed by
full fine-tuning; a cut follows it, once as it is and once with recovery training; recovery training follows a cut by
half of the layers. Latency is measured in turn with the baseline. Quality is on the validation split, which the
strategies do not see. A row is printed as soon as it is known; what has no place in the experiment, such as strategies
for named entities, is named at the end. Less than an hour on 2 cores for all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from autoopt.search.experiment import load_experiment
from autoopt.search.layout import Root
from autoopt.search.opening import facts
from autoopt.search.recipe import Recipe
from autoopt.search.space import RECIPE_NEEDS
from autoopt.search.trial import run_trial
from autoopt.search.workspace import Workspace
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.catalog import catalog
from autoopt.strategies.compression.layer_drop import LayerDrop
from autoopt.strategies.compression.recovery_finetuning import RecoveryFinetuning
from autoopt.strategies.strategy import Family, Strategy

ROW = "{:<28} {:<22} {:>8} {:>8} {:>17} {:>8} {:>16} {:>9} {:>7}"


def recipes_of(strategy: type[Strategy]) -> Iterator[tuple[str, Recipe]]:
    """The least recipes in which the strategy does something, each with what it was combined with."""
    if strategy.recovers:
        before = [FullFinetuning(), LayerDrop()] if "teacher" in strategy.needs else [LayerDrop()]
        yield "after layer_drop", Recipe.of([*before, strategy()])
    elif strategy.cuts:
        yield "without recovery", Recipe.of([FullFinetuning(), strategy()])
        yield "recovery_finetuning", Recipe.of([FullFinetuning(), strategy(), RecoveryFinetuning()])
    elif strategy.family is Family.ADAPTATION:
        yield "", Recipe.of([strategy()])
    else:
        yield "full_finetuning", Recipe.of([FullFinetuning(), strategy()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=sorted(catalog()), choices=sorted(catalog()), metavar="NAME")
    parser.add_argument("--experiment", default="bbc-news", metavar="FILE")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="change the experiment")
    parser.add_argument("--root", type=Path, default=Path("autoopt-studies"))
    options = parser.parse_args()
    folder = options.root.absolute() / "strategies-alone"
    experiment = load_experiment(options.experiment, options.set)
    workspace = Workspace.of(experiment, Root(options.root.absolute()), scratch=folder / "scratch")
    known = facts(experiment, workspace.data) | RECIPE_NEEDS
    chosen = [strategy for name, strategy in catalog().items() if name in options.only and strategy.needs <= known]
    rows = [("baseline", "", Recipe.of([FullFinetuning()]))]
    rows += [(s.name, how, recipe) for s in chosen if s is not FullFinetuning for how, recipe in recipes_of(s)]
    print(
        ROW.format(
            "strategy", "with", "quality", "points", "95 % interval", "latency", "95 % interval", "size MB", "seconds"
        )
    )
    reference = 0.0
    for number, (name, how, recipe) in enumerate(rows):
        record = run_trial(
            number, recipe, workspace, folder=folder / f"{number}", report=lambda _: None, screened=False
        )
        quality, ratio = record.measurements["quality"], record.measurements["latency_ratio"]
        reference = reference or quality.value
        print(
            ROW.format(
                name,
                how,
                f"{100 * quality.value:.1f}",
                f"{100 * (quality.value - reference):+.1f}",
                f"[{100 * quality.low:.1f}, {100 * quality.high:.1f}]",
                f"{ratio.value:.2f}",
                f"[{ratio.low:.2f}, {ratio.high:.2f}]",
                f"{record.measurements['size'].value / 1e6:.1f}",
                f"{record.seconds:.0f}",
            )
        )
        sys.stdout.flush()
    for name in options.only:
        if missing := catalog()[name].needs - known:
            print(f"{name}: this experiment has no {' and no '.join(sorted(missing))}")


if __name__ == "__main__":
    main()

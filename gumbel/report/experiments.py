"""Two experiments side by side: which settings differ, and what that did to the cells that both have."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from gumbel.evaluation import bootstrap
from gumbel.experiment.schema import Experiment
from gumbel.report.summary.intervals import Scored, load_seeds, sides
from gumbel.words import activation_name, architecture_name, fixed

METRICS = ("AP", "AP50", "APr", "APc", "APf")
#: Settings that every experiment has its own of, or that say only which cells there are.
_OWN = {"name", "description", "architectures", "activations", "seeds", "allow_missing"}


class Compared(NamedTuple):
    """Second experiment minus first.

    ``settings``: for each setting that differs, its value in both. ``differences``: a row per architecture,
    activation, scoring and metric that both have, with columns architecture, activation, scoring, seeds (of both, such
    as ``3 and 1``), metric, first, second, difference, low, high; means over seeds, unrounded in [0, 1]. ``without``:
    the cells that only one experiment names, or that are not evaluated in both, as text.
    """

    settings: dict[str, tuple[Any, Any]]
    differences: pd.DataFrame
    without: list[str]


def compare_experiments(first: Experiment, second: Experiment) -> Compared:
    """Compare the cells that two experiments share, by the masks of their first split.

    Intervals are those of :func:`gumbel.evaluation.bootstrap.paired_difference`.

    Raises:
        ValueError: the first splits have different names, or the two were not scored on the same images.
    """
    if first.splits[0] != second.splits[0]:
        raise ValueError(
            f"expected two experiments with the same first split, found {first.splits[0]} of {first.name} and "
            f"{second.splits[0]} of {second.name}; put the same split first"
        )
    rows: list[dict[str, Any]] = []
    without: list[str] = []
    for architecture, side in _cells(first, second):
        label = f"{architecture_name(architecture)} {activation_name(*side)}"
        if not all(_names(one, architecture, side) for one in (first, second)):
            only = first if _names(first, architecture, side) else second
            without.append(f"{label}: only in {only.name}")
            continue
        found = [list(load_seeds(one, architecture, side).values()) for one in (first, second)]
        if missing := [one.name for one, seeds in zip((first, second), found, strict=True) if not seeds]:
            without.append(f"{label}: not evaluated in {' and '.join(missing)}")
            continue
        masks = [[seed["segm"] for seed in seeds] for seeds in found]
        rows += [
            {"architecture": architecture, "activation": side[0], "scoring": side[1]} | row for row in _rows(*masks)
        ]
    columns = [
        "architecture",
        "activation",
        "scoring",
        "seeds",
        "metric",
        "first",
        "second",
        "difference",
        "low",
        "high",
    ]
    return Compared(_settings(first, second), pd.DataFrame(rows, columns=columns), without)


def _cells(*experiments: Experiment) -> list[tuple[str, Scored]]:
    """Every architecture with every activation and scoring of the experiments, each once."""
    pairs = ((name, side) for one in experiments for name in one.architectures for side in sides(one))
    return list(dict.fromkeys(pairs))


def _names(experiment: Experiment, architecture: str, side: Scored) -> bool:
    return architecture in experiment.architectures and side in sides(experiment)


def _rows(first: list[bootstrap.Resamples], second: list[bootstrap.Resamples]) -> Iterator[dict[str, Any]]:
    for metric in METRICS:
        difference, low, high = bootstrap.paired_difference(first, second, metric)
        values = [float(sum(seed.point[metric][0] for seed in side) / len(side)) for side in (first, second)]
        yield {
            "seeds": f"{len(first)} and {len(second)}",
            "metric": metric,
            "first": values[0],
            "second": values[1],
            "difference": difference,
            "low": low,
            "high": high,
        }


def _settings(first: Experiment, second: Experiment) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, those of a section by themselves: ``training.precision``."""
    sides = [_flat(one.model_dump(mode="json", exclude=_OWN)) for one in (first, second)]
    keys = dict.fromkeys([*sides[0], *sides[1]])
    pairs = {key: (sides[0].get(key), sides[1].get(key)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def as_text(compared: Compared, first: Experiment, second: Experiment) -> str:
    """The comparison for a terminal, times 100."""
    lines = [f"{second.name} minus {first.name}; a positive difference means that {second.name} scores higher"]
    lines += ["", "Settings that differ"]
    lines += [f"  {key}: {a} -> {b}" for key, (a, b) in compared.settings.items()] or ["  none"]
    if len(compared.differences):
        lines += ["", f"Mask AP x 100 on {first.splits[0]}, with 95 % intervals", *_table(compared.differences)]
        if compared.differences["seeds"].str.contains(r"^1 and|and 1$").any():
            lines += ["With one training on a side, an interval covers other images but not other trainings."]
    if compared.without:
        lines += ["", "Not compared", *(f"  {line}" for line in compared.without)]
    return "\n".join(lines)


def _table(differences: pd.DataFrame) -> Iterator[str]:
    yield f"{'model':<8}{'activation':<30}{'seeds':<9}" + "".join(f"{metric:>22}" for metric in METRICS)
    for (architecture, activation, scoring), rows in differences.groupby(
        ["architecture", "activation", "scoring"], sort=False
    ):
        name = f"{architecture_name(str(architecture)):<8}{activation_name(str(activation), str(scoring)):<30}"
        numbers: Any = rows.set_index("metric")[["difference", "low", "high"]].mul(100).T.to_dict("list")
        shown = (
            f"{fixed(d, '+.1f')} [{fixed(low, '+.1f')}, {fixed(high, '+.1f')}]" for d, low, high in numbers.values()
        )
        yield f"{name}{rows['seeds'].iloc[0]:<9}" + "".join(f"{text:>22}" for text in shown)

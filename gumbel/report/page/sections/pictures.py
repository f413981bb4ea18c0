"""Pictures with what each activation finds on them, where the compared ones differ most."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gumbel.evaluation.ground_truth import GroundTruth, read_ground_truth
from gumbel.evaluation.matches import Ranking, find_matches
from gumbel.evaluation.predictions import read_predictions
from gumbel.evaluation.protocol import select
from gumbel.experiment import matrix
from gumbel.report.drawing import diagrams
from gumbel.report.drawing.figures import Figure
from gumbel.report.drawing.samples import Sample, draw_samples
from gumbel.report.page.results import PageSection, Results
from gumbel.report.page.sections.categories import category_frame, differences
from gumbel.words import FREQUENCIES, activation_name, detector_name, percent

_EACH = 2  # categories that gain, and that lose


class Choice(NamedTuple):
    """A category whose AP the compared activations differ in, and by how much in words."""

    category_id: int
    words: str


class Pictures(PageSection):
    """Images of the split as the architecture ``drawn`` sees them, and the activations' detections on them.

    Of those that have detections of every activation, it is the one with the highest mean AP; without any, there are
    no ``samples``. ``choices`` are the categories with the largest gains and losses, rare ones first, by image; with
    their precision-recall curves.
    """

    title = "Pictures"

    def __init__(self, results: Results):
        data, split, summary = matrix.data(results.experiment), results.split, results.summary
        self.attribution = data.attribution.read_text() if data.attribution.exists() else None
        scored = summary[(summary["source"] == "evaluation") & (summary["split"] == split)]
        scored = scored[(scored["iou_type"] == "segm") & (scored["metric"] == "AP") & (scored["scoring"] == "matched")]
        means = scored.groupby("architecture")["value"].mean()
        self.samples: list[Sample] = []
        self.choices: dict[int, Choice] = {}
        self.model = ""
        annotations = data.annotations(split)
        for architecture in sorted(results.experiment.architectures, key=lambda name: -means.get(name, 0.0)):
            paths = {name: files.predictions(split, "matched") for name, files in results.first_cells(architecture)}
            if annotations.exists() and all(path.exists() for path in paths.values()):
                self.model, self.drawn = architecture, detector_name(architecture)
                table = differences(category_frame(results.experiment), results.compared)
                chosen = _largest(table[table["architecture"] == architecture])
                if results.compared and len(chosen):
                    self._choose(chosen, annotations, paths, results)
                self.samples = draw_samples(annotations, data.images, paths, list(self.choices))
                break

    @property
    def pictured(self) -> set[tuple[str, int]]:
        """Architecture and id of the chosen categories."""
        return {(self.model, choice.category_id) for choice in self.choices.values()}

    def _choose(self, chosen: pd.DataFrame, annotations: Path, paths: Mapping[str, Path], results: Results) -> None:
        truth = read_ground_truth(annotations)
        places = np.searchsorted(truth.category_ids, chosen["category_id"].to_numpy())
        ranked = {name: _ranking(truth, path, places) for name, path in paths.items()}
        of, against = (ranked[name] for name in results.compared or ())
        names = [activation_name(name) for name in results.compared or ()]
        curves: list[Figure] = []
        for row, place in zip(chosen.to_dict("records"), places, strict=True):
            difference = _found(of, place, len(truth.images)) - _found(against, place, len(truth.images))
            objects = np.bincount(truth.objects.image[truth.objects.category == place], minlength=len(truth.images))
            # the image that shows the difference best; of equals, the one with most objects of the category
            shown = [int(image) for image in np.lexsort((-objects, -np.sign(row["difference"]) * difference))]
            image = next(one for one in shown if int(truth.image_ids[one]) not in self.choices)
            name = row["name"].replace("_", " ")
            words = f"{name} ({FREQUENCIES[row['frequency']]}): AP {percent(row['of'])} with {names[0]}, "
            words += f"{percent(row['against'])} with {names[1]}"
            self.choices[int(truth.image_ids[image])] = Choice(int(row["category_id"]), words)
            drawn = {each: _curve(ranking, place) for each, ranking in ranked.items()}
            curves.append(diagrams.precision_recall(drawn, name, results.palette))
        self.figures = {"precision recall": curves}


def _largest(table: pd.DataFrame) -> pd.DataFrame:
    """The largest gains, then the largest losses, of rare categories first."""
    order = table["frequency"].map({letter: place for place, letter in enumerate(FREQUENCIES)})
    ranked = table.assign(group=order, size=-table["difference"].abs()).sort_values(["group", "size"], kind="stable")
    return pd.concat([ranked[ranked["difference"] > 0][:_EACH], ranked[ranked["difference"] < 0][:_EACH]])


def _ranking(truth: GroundTruth, path: Path, categories: np.ndarray) -> Ranking:
    """The detections of ``categories`` (indices) by falling score, matched as the evaluation does."""
    predictions = read_predictions(path)
    selected = select(truth, predictions)
    own = np.isin(selected.category, categories)
    few = selected._replace(rows=selected.rows[own], image=selected.image[own], category=selected.category[own])
    return find_matches(truth, predictions, few, ("segm",), overlaps=False).matches["segm"].rankings[0]


def _found(ranking: Ranking, category: int, images: int) -> np.ndarray:
    """How many objects of a category are found in each image (images,), at an IoU of 0.5."""
    own = (ranking.category == category) & (ranking.true & 1 > 0)
    return np.bincount(ranking.image[own], minlength=images)


def _curve(ranking: Ranking, category: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision, (n,) each, after each detection of a category, at an IoU of 0.5."""
    own = (ranking.category == category) & (ranking.counted & 1 > 0)
    true = np.cumsum(ranking.true[own] & 1)
    return true / max(np.count_nonzero(ranking.object_category == category), 1), true / np.arange(1, len(true) + 1)

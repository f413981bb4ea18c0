"""Pictures with what each activation finds on them."""

from dataclasses import dataclass

from gumbel.experiment import matrix
from gumbel.report.drawing.samples import Sample, draw_samples
from gumbel.report.page.results import PageSection, Results
from gumbel.words import detector_name


@dataclass(frozen=True)
class Pictures(PageSection):
    """Images of the split as the architecture ``drawn`` sees them; none where no one has detections of all."""

    samples: list[Sample]
    drawn: str | None
    attribution: str | None

    title = "Pictures"


def make(results: Results) -> Pictures:
    """Of the architecture with the highest mean AP, of those that have detections of every activation."""
    data, experiment, summary = matrix.data(results.experiment), results.experiment, results.summary
    attribution = data.attribution.read_text() if data.attribution.exists() else None
    scored = summary[(summary["source"] == "evaluation") & (summary["split"] == results.split)]
    scored = scored[(scored["iou_type"] == "segm") & (scored["metric"] == "AP") & (scored["scoring"] == "matched")]
    means = scored.groupby("architecture")["value"].mean()
    for architecture in sorted(experiment.architectures, key=lambda name: -means.get(name, 0.0)):
        paths = {name: files.predictions(results.split, "matched") for name, files in results.first_cells(architecture)}
        if data.annotations(results.split).exists() and all(path.exists() for path in paths.values()):
            samples = draw_samples(data.annotations(results.split), data.images, paths)
            return Pictures(samples, detector_name(architecture), attribution)
    return Pictures([], None, attribution)

"""Pictures with what each activation finds on them."""

from gumbel.experiment import matrix
from gumbel.report.drawing.samples import draw_samples
from gumbel.report.page.results import PageSection, Results
from gumbel.words import detector_name


class Pictures(PageSection):
    """Images of the split as the architecture ``drawn`` sees them, and the activations' detections on them.

    Of those that have detections of every activation, it is the one with the highest mean AP; without any, there are
    no ``samples``.
    """

    title = "Pictures"

    def __init__(self, results: Results):
        data, split, summary = matrix.data(results.experiment), results.split, results.summary
        self.attribution = data.attribution.read_text() if data.attribution.exists() else None
        scored = summary[(summary["source"] == "evaluation") & (summary["split"] == split)]
        scored = scored[(scored["iou_type"] == "segm") & (scored["metric"] == "AP") & (scored["scoring"] == "matched")]
        means = scored.groupby("architecture")["value"].mean()
        self.samples = []
        for architecture in sorted(results.experiment.architectures, key=lambda name: -means.get(name, 0.0)):
            paths = {name: files.predictions(split, "matched") for name, files in results.first_cells(architecture)}
            if data.annotations(split).exists() and all(path.exists() for path in paths.values()):
                self.samples = draw_samples(data.annotations(split), data.images, paths)
                self.drawn = detector_name(architecture)
                break

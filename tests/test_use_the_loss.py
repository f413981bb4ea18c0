"""The examples of docs/how-to/use-the-loss.md, run as they are written."""

import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gumbel import gumbel_cross_entropy
from gumbel.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "how-to" / "use-the-loss.md"


def example(heading: str) -> SimpleNamespace:
    """What the code below a heading of the page defines."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    exec(compile(code, heading, "exec"), names := {})
    return SimpleNamespace(**names)


def gumbel(logits: torch.Tensor) -> torch.Tensor:
    """The formula, in double precision."""
    return torch.exp(-torch.exp(-logits.double()))


@pytest.fixture
def roi_heads():
    """torchvision's module, with its own loss again afterwards."""
    try:
        from torchvision.models.detection import roi_heads
        from torchvision.ops import nms

        nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    except (ImportError, RuntimeError, OSError) as error:  # not there, or built for another torch
        pytest.skip(f"needs torchvision: {error}")
    loss = roi_heads.fastrcnn_loss
    yield roi_heads
    roi_heads.fastrcnn_loss = loss


@pytest.fixture
def detector(roi_heads):
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    torch.manual_seed(0)
    model = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=5, min_size=64)
    return example("torchvision's box head").use_gumbel(model)


def test_torchvision_trains_with_the_loss(detector, monkeypatch):
    seen = {}
    predictor = detector.roi_heads.box_predictor.forward

    def watched(features):
        seen["logits"], boxes = predictor(features)
        return seen["logits"], boxes

    monkeypatch.setattr(detector.roi_heads.box_predictor, "forward", watched)
    select = detector.roi_heads.select_training_samples

    def selected(*given):
        proposals, matched, labels, targets = select(*given)
        seen["labels"] = torch.cat(labels)
        return proposals, matched, labels, targets

    monkeypatch.setattr(detector.roi_heads, "select_training_samples", selected)
    target = {"boxes": torch.tensor([[4.0, 4.0, 40.0, 40.0]]), "labels": torch.tensor([3])}
    loss = detector.train()([torch.rand(3, 64, 64)], [target])["loss_classifier"]
    scores = gumbel(seen["logits"])
    truth = F.one_hot(seen["labels"], 5).double()
    expected = F.binary_cross_entropy(scores, truth, reduction="none").sum(-1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert detector.roi_heads.box_predictor.cls_score.weight.grad.abs().max() > 0


def test_torchvision_scores_with_the_activation(detector):
    """Three boxes far apart, so that nothing suppresses anything."""
    logits = torch.tensor([[0.0, 2.0, -3.0, -3.0, -3.0], [0.0, -3.0, 1.0, 0.5, -3.0], [5.0, -3.0, -3.0, -3.0, -3.0]])
    proposals = [torch.tensor([[0.0, 0.0, 9.0, 9.0], [20.0, 20.0, 29.0, 29.0], [40.0, 40.0, 49.0, 49.0]])]
    boxes, scores, labels = detector.roi_heads.postprocess_detections(logits, torch.zeros(3, 20), proposals, [(64, 64)])
    assert labels[0].tolist() == [1, 2, 3]
    assert scores[0].double().numpy() == pytest.approx(gumbel(torch.tensor([2.0, 1.0, 0.5])).numpy(), rel=1e-6)
    assert boxes[0].tolist() == [proposals[0][row].tolist() for row in (0, 1, 1)]


def test_a_multi_label_classifier_learns():
    code = example("A multi-label classifier")
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    code.prepare(model)
    assert model.bias.tolist() == [-2.0] * 3
    images = torch.randn(64, 4)
    labels = (images[:, :3] > 0).float()  # several labels an image, or none
    optimizer = torch.optim.Adam(model.parameters(), lr=0.3)
    losses = [code.train_step(model, optimizer, images, labels) for _ in range(50)]
    assert losses[-1] < losses[0] / 4
    assert (code.predict(model, images) == labels.bool()).float().mean() > 0.95


def test_the_page_is_right_about_the_loss_without_a_bias():
    start = gumbel_cross_entropy(torch.zeros(1, 1204), torch.tensor([0])).item()
    assert f"would start at {start:.0f}" in " ".join(PAGE.read_text().split())

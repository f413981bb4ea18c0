"""The hook contract of classification losses, seen through mmdet's own heads."""

import math

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from gumbel import activations
from gumbel.detection.compose import cell_config
from gumbel.detection.losses import ActivationLoss, classification_losses, set_scoring
from gumbel.detection.parts import box_heads
from gumbel.experiment import matrix
from gumbel.paths import CONFIGS

REGISTERED = [activations.get(name) for name in activations.names()]
#: Scored otherwise than mmdet would by itself, and of these the ones with a loss of their own.
CUSTOM = [each.name for each in REGISTERED if not each.mmdet_default]
OWN = [each.name for each in REGISTERED if each.mmdet is None]


def head(loss_cls: dict, num_classes: int = 6) -> torch.nn.Module:
    init_default_scope("mmdet")
    return MODELS.build(
        dict(
            type="Shared2FCBBoxHead",
            in_channels=4,
            fc_out_channels=8,
            roi_feat_size=2,
            num_classes=num_classes,
            loss_cls=loss_cls,
        )
    )


def scores_of(box_head: torch.nn.Module, logits: torch.Tensor) -> torch.Tensor:
    """What the head's inference turns logits into, before thresholds and NMS."""
    rois = torch.tensor([[0.0, 0.0, 0.0, 8.0, 8.0]]).repeat(len(logits), 1)
    deltas = torch.zeros(len(logits), 4 * box_head.num_classes)
    return box_head._predict_by_feat_single(rois, logits, deltas, {"img_shape": (32, 32)}).scores


@pytest.mark.parametrize("activation", CUSTOM)
def test_a_head_is_scored_by_the_activation_it_was_trained_with(activation):
    chosen = activations.get(activation)
    box_head = head(chosen.loss_config(6, {}))
    assert box_head.fc_cls.out_features == chosen.outputs(6)
    logits = torch.randn(5, chosen.outputs(6))
    expected = chosen.scores(logits)
    torch.testing.assert_close(scores_of(box_head, logits), expected)
    assert not torch.allclose(expected, logits.softmax(-1)[:, :7])


@pytest.mark.parametrize("flag", ["custom_cls_channels", "custom_activation", "custom_accuracy"])
def test_a_loss_that_lacks_a_flag_is_caught(flag, monkeypatch):
    complete = head(dict(type="ActivationLoss", activation="gumbel"))
    assert all(getattr(complete, name) for name in ("custom_cls_channels", "custom_activation", "custom_accuracy"))
    monkeypatch.setattr(ActivationLoss, flag, False)
    assert not getattr(head(dict(type="ActivationLoss", activation="gumbel")), flag)


def test_without_custom_cls_channels_mmdet_scores_with_softmax(monkeypatch):
    """Why the flags matter: the same head without one is scored by softmax, silently."""
    monkeypatch.setattr(ActivationLoss, "custom_cls_channels", False)
    logits = torch.randn(5, 7)
    scores = scores_of(head(dict(type="ActivationLoss", activation="gumbel")), logits)
    torch.testing.assert_close(scores, logits.softmax(-1))


def test_released_scoring_scores_a_sigmoid_head_with_softmax():
    box_head = head(dict(type="ActivationLoss", activation="sigmoid"))
    logits = torch.randn(5, 7)
    set_scoring(box_head, "released")
    torch.testing.assert_close(scores_of(box_head, logits), logits.softmax(-1))


@pytest.mark.parametrize("activation", OWN)
def test_the_module_gives_the_registered_loss_with_mmdets_average(activation):
    logits, labels = torch.randn(5, 7), torch.tensor([0, 3, 6, 6, 2])
    weight = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0])
    loss = MODELS.build(dict(type="ActivationLoss", activation=activation, loss_weight=2.0))
    found = loss(logits, labels, weight, avg_factor=4.0)
    per_sample = activations.get(activation).loss(logits, labels, reduction="none")
    torch.testing.assert_close(found, 2.0 * (per_sample * weight).sum() / 4.0)


@pytest.mark.parametrize("activation", [each for each in REGISTERED if each.loss is None], ids=lambda each: each.name)
def test_a_loss_of_mmdets_costs_its_closed_form_at_the_start_and_counts_what_it_has_seen(activation):
    loss = MODELS.build(activation.loss_config(6, {}))
    logits = torch.full((1, activation.outputs(6)), -1.5)
    before = {name: value.clone() for name, value in loss.named_buffers()}
    found = loss(logits, torch.tensor([2]), torch.ones(1), avg_factor=1.0).item()
    assert found == pytest.approx(activation.start(-1.5, activation.outputs(6)), rel=1e-4)
    counted = {name for name, value in loss.named_buffers() if not torch.equal(value, before[name])}
    assert counted
    assert counted <= set(loss.state_dict())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
@pytest.mark.parametrize("loss", ["gumbel", "eqlv2", "DropLoss"])
def test_labels_of_any_integer_type_cost_what_those_of_int64_do(loss, dtype):
    if loss == "DropLoss":
        config = dict(type=loss, activation="gumbel", num_classes=3, infrequent=[1])
    else:
        config = activations.get(loss).loss_config(3, {}) | {"type": "ActivationLoss"}
    labels, weight = torch.tensor([0, 3, 2, 1]), torch.ones(4)
    logits = torch.randn(4, MODELS.build(config).get_cls_channels(3))
    found = []
    for given in (labels, labels.to(dtype)):
        torch.manual_seed(0)
        found.append(MODELS.build(config)(logits, given, weight, avg_factor=4.0))
    assert torch.equal(*found)


def test_seesaw_and_eqlv2_score_as_mmdets_own_classes_say():
    logits = torch.randn(5, 8)
    seesaw, eqlv2 = (activations.get(name) for name in ("seesaw", "eqlv2"))
    theirs = MODELS.build(seesaw.loss_config(6, {}))
    torch.testing.assert_close(seesaw.scores(logits), theirs.get_activation(logits))
    theirs = MODELS.build(dict(type="EQLV2Loss", num_classes=6))
    torch.testing.assert_close(eqlv2.scores(logits[:, :7]), theirs.get_activation(logits[:, :7]))


def test_sigmoid_agrees_with_mmdets_own_binary_cross_entropy():
    logits, labels = torch.randn(5, 7), torch.tensor([0, 3, 6, 6, 2])
    ours = MODELS.build(dict(type="ActivationLoss", activation="sigmoid"))
    theirs = MODELS.build(dict(type="CrossEntropyLoss", use_sigmoid=True))
    torch.testing.assert_close(
        ours(logits, labels, torch.ones(5), avg_factor=5.0), theirs(logits, labels, torch.ones(5), avg_factor=5.0)
    )


def test_accuracy_is_the_share_of_largest_logits_in_percent():
    logits = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 1.0, 0.0], [5.0, 0.0, 0.0]])
    loss = MODELS.build(dict(type="ActivationLoss", activation="gumbel"))
    assert loss.get_accuracy(logits, torch.tensor([0, 2, 0, 0]))["acc"].item() == 75.0


def _expected_at_initialisation(activation: str, bias: float) -> float:
    """Loss of 1204 equal logits with one positive, from the closed forms."""
    if activation == "softmax":
        return math.log(1204)
    if activation == "sigmoid":
        return math.log1p(math.exp(-bias)) + 1203 * math.log1p(math.exp(bias))
    u = math.exp(-bias)
    return u - 1203 * math.log1p(-math.exp(-u))


@pytest.mark.parametrize(
    ("activation", "score", "published"),
    [("softmax", 8.3e-4, 7.09), ("sigmoid", 1.5e-3, 8.31), ("gumbel", 6.2e-4, 8.13)],
)
def test_the_recipes_loss_at_initialisation_is_the_released_one(activation, score, published):
    """The released configuration starts every class from the same score; its loss follows."""
    experiment = matrix.load(CONFIGS / "experiments" / "lvis.yaml")
    model = cell_config(experiment, "mask_rcnn_r50", activation, seed=0).model
    box_head_config = Config(box_heads(model)[0].to_dict())
    init_default_scope("mmdet")
    box_head = MODELS.build(box_head_config)
    box_head.init_weights()
    assert torch.unique(box_head.fc_cls.weight).tolist() == pytest.approx([0.001])
    # Zero features leave the bias alone: the value that the released code starts from
    logits = box_head.fc_cls(torch.zeros(3, box_head.fc_cls.in_features))
    loss = box_head.loss_cls(logits, torch.tensor([0, 7, 1203]), torch.ones(3), avg_factor=3.0).item()
    assert loss == pytest.approx(_expected_at_initialisation(activation, logits[0, 0].item()), rel=1e-4)
    assert loss == pytest.approx(published, abs=5e-3)
    assert scores_of(box_head, logits)[0, 0].item() == pytest.approx(score, rel=0.02)


def test_every_stage_of_a_cascade_has_the_loss():
    experiment = matrix.load(CONFIGS / "experiments" / "mini.yaml")
    init_default_scope("mmdet")
    model = MODELS.build(cell_config(experiment, "cascade_r101", "gumbel", seed=0).model)
    assert [loss.activation.name for loss in classification_losses(model)] == ["gumbel"] * 3


def drop_loss(**options: object) -> torch.nn.Module:
    return MODELS.build(
        dict(
            type="DropLoss", activation="gumbel", num_classes=3, infrequent=[1, 2], **options
        )  # category 0 is frequent
    )


def test_drop_loss_is_the_sum_over_what_is_kept_worked_out_by_hand(monkeypatch):
    """Two RoIs with objects, one of a frequent and one of an infrequent category, and one of background.

    Half of the objects are infrequent: the background keeps what draws at most that half.
    """
    logits = torch.tensor([[0.5, -1.0, -2.0], [-1.5, 0.0, 1.0], [-2.0, -1.0, 0.3]])
    labels = torch.tensor([0, 2, 3])
    draws = torch.tensor([[0.1, 0.1, 0.1], [0.9, 0.9, 0.9], [0.9, 0.4, 0.6]])
    monkeypatch.setattr(torch, "rand", lambda *_, **__: draws)
    loss = drop_loss(loss_weight=2.0)
    assert loss.kept(labels).tolist() == [[1, 0, 0], [1, 0, 1], [1, 1, 0]]

    def positive(q: float) -> float:
        return math.exp(-q)

    def negative(q: float) -> float:
        return -math.log(1 - math.exp(-math.exp(-q)))

    by_hand = positive(0.5) + (negative(-1.5) + positive(1.0)) + (negative(-2.0) + negative(-1.0))
    found = loss(logits, labels, torch.ones(3), avg_factor=3.0)
    assert found.item() == pytest.approx(2.0 * by_hand / 3, rel=1e-5)


def test_drop_loss_keeps_of_the_background_what_the_share_of_infrequent_objects_is():
    torch.manual_seed(0)
    labels = torch.cat([torch.full((3,), 0), torch.full((1,), 2), torch.full((20_000,), 3)])
    kept = drop_loss().kept(labels)[4:]
    assert kept[:, 0].mean() == 1
    assert kept[:, 1:].mean().item() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(("labels", "kept"), [([3, 3], 1.0), ([0, 3], 0.0)], ids=["no object", "frequent ones alone"])
def test_drop_loss_at_the_ends_of_the_share(labels, kept):
    assert drop_loss().kept(torch.tensor(labels))[-1, 1:].unique().tolist() == [kept]


def test_dropped_elements_have_no_gradient():
    torch.manual_seed(0)
    logits = torch.randn(40, 3, requires_grad=True)
    labels = torch.randint(0, 4, (40,))
    torch.manual_seed(1)
    kept = drop_loss().kept(labels)
    torch.manual_seed(1)
    drop_loss(variant="released")(logits, labels, torch.ones(40), avg_factor=40.0).backward()
    assert 0 < kept.mean() < 1
    assert torch.equal(logits.grad != 0, kept.bool())


def test_a_head_with_drop_loss_has_no_background_output_and_scores_the_background_zero():
    box_head = head(dict(type="DropLoss", activation="gumbel", num_classes=6, infrequent=[4]))
    assert box_head.fc_cls.out_features == 6
    assert "infrequent" not in box_head.state_dict()
    logits = torch.randn(5, 6)
    scores = box_head.loss_cls.get_activation(logits)
    torch.testing.assert_close(scores[:, :6], activations.get("gumbel").scores(logits))
    assert scores[:, 6].tolist() == [0.0] * 5


def test_accuracy_of_drop_loss_leaves_the_background_out():
    logits = torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0], [5.0, 0.0, 0.0]])
    assert drop_loss().get_accuracy(logits, torch.tensor([0, 2, 3]))["acc"].item() == 50.0

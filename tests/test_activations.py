"""What every activation of the registry promises, and what each of them is."""

import importlib
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gumbel import activations
from gumbel.activations.parametric import parametric

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "add-an-activation.md"
REGISTERED = [activations.get(name) for name in activations.names()]
#: Those that are a binary problem for each class, with a loss of their own.
BINARY = [each.name for each in REGISTERED if not each.competing and each.loss]
INTEGERS = [getattr(torch, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def check_contract(activation: activations.Activation) -> None:
    """The promises of :class:`gumbel.activations.Activation`, for any activation."""
    check_scores(activation)
    check_extreme_scores(activation)
    if activation.loss is not None:
        check_loss(activation)
        check_extreme_losses(activation)


def check_integers(activation: activations.Activation) -> None:
    """Class indices of any integer type mean the same, also where the type ends before the outputs do."""
    logits = torch.randn(128, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.arange(128)
    for dtype in INTEGERS:
        for ignored in (None, -100, 3, 255):
            expected = activation.loss(logits, target, reduction="none", ignore_index=ignored)
            found = activation.loss(logits, target.to(dtype), reduction="none", ignore_index=ignored)
            assert torch.equal(found, expected), (dtype, ignored)
    with pytest.raises(ValueError, match="integer class indices"):
        activation.loss(logits, target > 0)


def check_scores(activation: activations.Activation) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(50, activation.outputs(5), generator=generator, dtype=torch.float64)
    scores = activation.scores(logits)
    assert scores.shape == (50, 6)
    assert ((scores >= 0) & (scores <= 1)).all()
    torch.testing.assert_close(activation.log_scores(logits).exp(), scores)
    raised = logits.clone()
    raised[:, 2] += 0.1
    assert (activation.scores(raised)[:, 2] >= scores[:, 2]).all()


def check_loss(activation: activations.Activation) -> None:
    """The loss is the cross-entropy of the scores, and is weighted and reduced as the others are."""
    logits = torch.linspace(-3, 3, 20, dtype=torch.float64).reshape(5, 4).requires_grad_()
    target = torch.tensor([0, 3, 1, 2, 2])
    scores, hot = activation.scores(logits), torch.nn.functional.one_hot(target, 4)
    others = 0 if activation.competing else (1 - hot) * torch.log1p(-scores)
    each = activation.loss(logits, target, reduction="none")
    torch.testing.assert_close(each, -(hot * scores.log() + others).sum(-1))
    torch.testing.assert_close(activation.loss(logits, target), each.mean())
    weight = torch.tensor([0.0, 1, 2, 3, 0.5])
    torch.testing.assert_close(activation.loss(logits, target, weight, reduction="sum"), (each * weight).sum())
    torch.testing.assert_close(activation.loss(logits, target, weight, avg_factor=2.5), (each * weight).sum() / 2.5)
    ignoring = activation.loss(logits, target, reduction="none", ignore_index=2)
    torch.testing.assert_close(ignoring, each * (target != 2))
    check_integers(activation)
    assert torch.autograd.gradcheck(lambda q: activation.loss(q, target), logits)


def extremes(outputs: int) -> Iterator[torch.Tensor]:
    for dtype in DTYPES:
        for extreme in (-1e4, -100.0, -30.0, 0.0, 30.0, 100.0, 1e4):
            yield torch.full((3, outputs), extreme, dtype=dtype, requires_grad=True)


def check_finite(value: torch.Tensor, logits: torch.Tensor) -> None:
    gradient = torch.autograd.grad(value.float().sum(), logits)[0]
    for tensor in (value, gradient):
        assert tensor.isfinite().all(), (logits.dtype, logits[0, 0])


def check_extreme_scores(activation: activations.Activation) -> None:
    for logits in extremes(activation.outputs(4)):
        check_finite(activation.log_scores(logits), logits)


def check_extreme_losses(activation: activations.Activation) -> None:
    for logits in extremes(5):
        check_finite(activation.loss(logits, torch.tensor([0, 2, 4])), logits)
    empty = torch.zeros(0, 5, requires_grad=True)
    loss = activation.loss(empty, torch.zeros(0, dtype=torch.long))
    assert loss == 0
    assert torch.autograd.grad(loss, empty)[0].shape == (0, 5)


@pytest.mark.parametrize("name", activations.names())
def test_activation_keeps_its_promises(name):
    activation = activations.get(name)
    assert activation.name == name
    assert activation.source
    assert activation.label
    check_contract(activation)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("prior", [1e-4, 0.01, 0.5, 0.99])
def test_bias_gives_the_prior(name, prior):
    activation = activations.get(name)
    logit = torch.tensor([activation.bias(prior, 1204)], dtype=torch.float64)
    assert activation.scores(logit).item() == pytest.approx(prior, rel=1e-9)


def test_softmax_starts_from_equal_scores_whatever_its_bias():
    softmax = activations.get("softmax")
    logits = torch.full((1, 1204), softmax.bias(0.01, 1204))
    torch.testing.assert_close(softmax.scores(logits), torch.full((1, 1204), 1 / 1204))


@pytest.mark.parametrize(
    ("name", "bias", "score", "loss"),
    [("gumbel", -2.0, 6.2e-4, 8.13), ("sigmoid", -6.5, 1.5e-3, 8.31), ("softmax", 0.0, 8.3e-4, 7.09)],
)
def test_paper_initialisation_costs_what_it_should_whatever_the_target(name, bias, score, loss):
    activation = activations.get(name)
    logits = torch.full((4, 1204), bias)
    assert activation.scores(logits)[0, 0].item() == pytest.approx(score, rel=0.02)
    assert activation.loss(logits, torch.tensor([0, 7, 600, 1203])).item() == pytest.approx(loss, abs=0.005)


@pytest.mark.parametrize("name", BINARY)
def test_dense_targets_and_element_weights_agree_with_indices(name):
    activation = activations.get(name)
    logits = torch.randn(6, 4, dtype=torch.float64)
    target = torch.tensor([0, 1, 2, 3, 4, 4])  # 4 names no class
    dense = torch.nn.functional.one_hot(target, 5)[:, :4]
    torch.testing.assert_close(activation.loss(logits, target), activation.loss(logits, dense))
    weight = torch.tensor([[1.0, 0, 2, 0]], dtype=torch.float64)
    columns = activation.loss(logits[:, [0]], dense[:, [0]]) + 2 * activation.loss(logits[:, [2]], dense[:, [2]])
    torch.testing.assert_close(activation.loss(logits, target, weight), columns)


@pytest.mark.parametrize("activation", [each for each in REGISTERED if each.loss], ids=lambda each: each.name)
def test_the_loss_of_equal_logits_is_its_closed_form(activation):
    logits = torch.full((1, 8), -1.5, dtype=torch.float64)
    assert activation.loss(logits, torch.tensor([3])).item() == pytest.approx(activation.start(-1.5, 8), rel=1e-9)


@pytest.mark.parametrize("activation", REGISTERED, ids=lambda each: each.name)
def test_what_an_activation_says_is_read_without_running_it(activation):
    said = activations.said(activation.name)
    fields = {"label": activation.label, "options": activation.options, "competing": activation.competing}
    fields |= {"mmdet_default": activation.mmdet_default}
    assert {name: said.get(name, type(value)()) for name, value in fields.items()} == fields


def test_one_activation_is_what_mmdet_scores_with():
    assert [each.name for each in REGISTERED if each.mmdet_default] == [activations.mmdet_default()]


@pytest.mark.parametrize("activation", REGISTERED, ids=lambda each: each.name)
def test_the_first_value_of_an_option_is_its_default(activation):
    given = {name: values[0] for name, values in activation.options.items()}
    assert activation.loss_config(5, {}) == activation.loss_config(5, given)


def test_parametric_family_contains_sigmoid_and_tends_to_gumbel():
    logits = torch.linspace(-3, 8, 100, dtype=torch.float64).reshape(25, 4)
    target = torch.arange(25) % 4
    for shape, name, tolerance in ((1.0, "sigmoid", 1e-12), (1e-6, "gumbel", 1e-3)):
        member, limit = parametric("member", "Member", shape), activations.get(name)
        torch.testing.assert_close(member.scores(logits), limit.scores(logits), rtol=tolerance, atol=1e-9)
        torch.testing.assert_close(member.loss(logits, target), limit.loss(logits, target), rtol=tolerance, atol=0)


def test_mirrored_gumbel_is_gumbel_of_the_opposite_question():
    gumbel, mirrored = activations.get("gumbel"), activations.get("mirrored_gumbel")
    logits = torch.linspace(-3, 3, 24, dtype=torch.float64).reshape(6, 4)
    dense = torch.randint(2, (6, 4)).double()
    torch.testing.assert_close(mirrored.scores(logits), 1 - gumbel.scores(-logits))
    torch.testing.assert_close(mirrored.loss(logits, dense), gumbel.loss(-logits, 1 - dense))


def test_gumbel_loss_takes_the_released_variant():
    logits = torch.full((2, 4), -6.0)
    loss = activations.get("gumbel").loss(logits, torch.tensor([0, 1]), variant="released", reduction="none")
    assert loss.tolist() == pytest.approx([math.exp(4)] * 2)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"gumbel, .*softmax.*found 'gumbell'"):
        activations.get("gumbell")


def test_the_page_on_adding_an_activation_adds_one(tmp_path, monkeypatch):
    source = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)
    name = re.search(r"gumbel/activations/(\w+)\.py", PAGE.read_text()).group(1)
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setattr(activations, "__path__", [*activations.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, f"gumbel.activations.{name}", raising=False)
    importlib.invalidate_caches()
    assert name in activations.names()
    added = activations.get(name)
    check_contract(added)
    assert added.scores(torch.tensor([added.bias(0.01, 10)])).item() == pytest.approx(0.01, rel=1e-4)
    del sys.modules[f"gumbel.activations.{name}"]

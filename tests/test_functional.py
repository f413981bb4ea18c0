"""The Gumbel loss: exact, stable, and a drop-in. Closed forms are written out here again, in NumPy, SciPy or mpmath."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.autograd import gradcheck, gradgradcheck

from gumbel import GumbelCrossEntropyLoss, gumbel_activation, gumbel_cross_entropy, gumbel_log_activation

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
EXTREMES = (-1e4, -700.0, -100.0, -65.0, -12.0, -4.0, 0.0, 4.0, 100.0, 1e4)


def load(name: str):
    """A script of benchmarks/ as a module."""
    path = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sample(rows: int = 5, classes: int = 7, seed: int = 0, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Logits (rows, classes) in float64 that require a gradient, and class indices (rows,)."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(classes, (rows,), generator=generator)


def one_hot(target: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(target, classes).double()


def gradient(loss: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(loss, logits)[0]


def reference(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Losses (N, C) of moderate logits and dense targets: the cross-entropy of SciPy's Gumbel distribution."""
    return -target * stats.gumbel_r.logcdf(logits) - (1 - target) * stats.gumbel_r.logsf(logits)


# Exactness


@pytest.mark.parametrize("tanh", [True, False], ids=["with AVX-512", "without"])
def test_every_error_is_at_most_four_epsilons_times_the_condition_number(tanh, monkeypatch):
    monkeypatch.setattr("gumbel.functional._TANH", tanh)
    monkeypatch.setattr("gumbel.functional._BUFFERS", 3)
    worst = list(load("accuracy").errors(points=150))
    assert {(error.dtype, error.positive) for error in worst} == {
        (dtype, positive) for dtype in (torch.float32, torch.float64) for positive in (True, False)
    }
    assert max(max(error.value, error.gradient) for error in worst) <= 4


def test_activation_is_scipys_gumbel_distribution():
    logits = torch.linspace(-5, 20, 501, dtype=torch.float64)
    np.testing.assert_allclose(gumbel_activation(logits), stats.gumbel_r.cdf(logits), rtol=1e-13)
    np.testing.assert_allclose(gumbel_log_activation(logits), stats.gumbel_r.logcdf(logits), rtol=1e-13)


@pytest.mark.parametrize("dense", [False, True])
def test_loss_is_the_cross_entropy_of_scipys_gumbel_distribution(dense):
    logits, target = sample()
    hot = torch.rand_like(logits).detach() if dense else one_hot(target, 7)
    expected = reference(logits.detach().numpy(), hot.numpy()).sum(-1)
    found = gumbel_cross_entropy(logits, hot if dense else target, reduction="none")
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"weight": "sample"}, {"weight": "element"}, {"ignore_index": 3}])
@pytest.mark.parametrize("dense", [False, True])
def test_gradient_and_second_derivative_are_those_of_the_loss(options, dense):
    logits, target = sample()
    target = torch.rand_like(logits).detach() if dense else torch.tensor([3, 0, 6, 7, 2])
    weights = {"sample": torch.rand(5).double(), "element": torch.rand(5, 7).double()}
    options = {key: weights.get(value, value) for key, value in options.items()}
    assert gradcheck(lambda q: gumbel_cross_entropy(q, target, **options), logits)
    assert gradgradcheck(lambda q: gumbel_cross_entropy(q, target, **options), logits)


def test_activation_has_the_gradients_of_its_values():
    logits = sample()[0]
    assert gradcheck(gumbel_activation, logits)
    assert gradgradcheck(gumbel_log_activation, logits)


# Finite for every finite logit


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dense", [False, True])
def test_value_and_gradient_are_finite_for_every_finite_logit(dtype, dense):
    logits = torch.tensor(EXTREMES, dtype=dtype).repeat(len(EXTREMES), 1).requires_grad_()
    target = torch.eye(len(EXTREMES), dtype=dtype) if dense else torch.arange(len(EXTREMES))
    loss = gumbel_cross_entropy(logits, target)
    slope = gradient(loss, logits)
    assert loss.isfinite()
    assert slope.isfinite().all()
    assert slope.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_float32(dtype):
    logits, target = sample()
    logits = logits.detach().float().requires_grad_()
    with torch.autocast("cpu", dtype):
        loss = gumbel_cross_entropy(logits, target)
        product = gumbel_cross_entropy(logits @ torch.eye(7), target)
        released = gumbel_cross_entropy(logits, target, variant="released")
    assert loss.dtype == product.dtype == torch.float32
    torch.testing.assert_close(loss, gumbel_cross_entropy(logits, target))
    torch.testing.assert_close(released, gumbel_cross_entropy(logits, target, variant="released"))
    assert gradient(product, logits).isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_positive_never_loses_its_gradient_and_costs_more_the_lower_its_logit(dtype):
    logits = (-torch.logspace(0, 4, 60, dtype=torch.float64)).to(dtype).unique().unsqueeze(-1)
    logits.requires_grad_()
    losses = gumbel_cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long), reduction="none")
    assert (losses.diff() < 0).all()  # the logits ascend
    assert (gradient(losses.sum(), logits) < -1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_scores_keep_the_order_of_logits_whose_scores_underflow(dtype):
    logits = (-torch.logspace(0.7, 4, 200, dtype=torch.float64)).to(dtype).unique()
    assert (gumbel_activation(logits) == 0).any()
    assert (gumbel_log_activation(logits).diff() > 0).all()
    assert gumbel_log_activation(logits).isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [gumbel_activation, gumbel_log_activation])
def test_activations_have_finite_gradients(dtype, function):
    logits = torch.tensor(EXTREMES, dtype=dtype, requires_grad=True)
    assert gradient(function(logits).sum(), logits).isfinite().all()


# Properties

logit_rows = st.lists(st.floats(-30, 60), min_size=2, max_size=6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=20))
def test_activation_is_monotone_and_bounded(logits):
    scores = gumbel_activation(torch.tensor(sorted(logits), dtype=torch.float64))
    assert (scores.diff() >= 0).all()
    assert (scores >= 0).all()
    assert (scores <= 1).all()


@settings(max_examples=50, deadline=None)
@given(logit_rows, logit_rows)
def test_loss_adds_up_over_classes(left, right):
    first, second = (torch.tensor([row], dtype=torch.float64) for row in (left, right))
    whole = gumbel_cross_entropy(torch.cat([first, second], 1), torch.tensor([0]))
    nothing_positive = torch.zeros_like(second)
    parts = gumbel_cross_entropy(first, torch.tensor([0])) + gumbel_cross_entropy(second, nothing_positive)
    torch.testing.assert_close(whole, parts, rtol=1e-13, atol=0)


@settings(max_examples=50, deadline=None)
@given(logit_rows, st.randoms())
def test_loss_does_not_depend_on_the_order_of_classes(row, random):
    order = list(range(len(row)))
    random.shuffle(order)
    logits = torch.tensor([row], dtype=torch.float64)
    loss = gumbel_cross_entropy(logits[:, order], torch.tensor([order.index(0)]))
    torch.testing.assert_close(loss, gumbel_cross_entropy(logits, torch.tensor([0])), rtol=1e-13, atol=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 30), st.sampled_from(["exact", "released"]))
def test_index_and_dense_targets_agree(seed, scale, variant):
    logits, target = sample(seed=seed, scale=scale)
    by_index = gumbel_cross_entropy(logits, target, reduction="none", variant=variant)
    dense = gumbel_cross_entropy(logits, one_hot(target, 7), reduction="none", variant=variant)
    torch.testing.assert_close(by_index, dense, rtol=1e-14, atol=0)
    torch.testing.assert_close(gradient(by_index.sum(), logits), gradient(dense.sum(), logits), rtol=1e-14, atol=0)


def test_mean_divides_the_sum_by_the_samples_or_by_avg_factor():
    logits, target = sample()
    each = gumbel_cross_entropy(logits, target, reduction="none")
    assert each.shape == (5,)
    torch.testing.assert_close(gumbel_cross_entropy(logits, target, reduction="sum"), each.sum())
    torch.testing.assert_close(gumbel_cross_entropy(logits, target), each.sum() / 5)
    for factor in (3.3, torch.tensor(3.3)):
        torch.testing.assert_close(gumbel_cross_entropy(logits, target, avg_factor=factor), each.sum() / 3.3)
    assert gumbel_cross_entropy(logits, target, torch.zeros(5), avg_factor=0) == 0


def test_weights_scale_samples_or_elements():
    logits, target = sample()
    elements = reference(logits.detach().numpy(), one_hot(target, 7).numpy())
    for shape, factor in {(5,): (5, 1), (): (1, 1), (5, 7): (5, 7), (1, 7): (1, 7), (5, 1): (5, 1)}.items():
        weight = torch.rand(shape, dtype=torch.float64)
        found = gumbel_cross_entropy(logits, target, weight, "none").detach()
        np.testing.assert_allclose(found, (elements * weight.reshape(factor).numpy()).sum(-1), rtol=1e-12)


@pytest.mark.parametrize("variant", ["exact", "released"])
@pytest.mark.parametrize("dense", [False, True])
def test_ignored_elements_contribute_nothing_even_if_not_a_number(variant, dense):
    logits, target = sample()
    target = one_hot(target, 7) if dense else target
    ignored = torch.zeros_like(target, dtype=torch.bool)
    ignored[1] = True
    clean = gumbel_cross_entropy(logits[[0, 2, 3, 4]], target[[0, 2, 3, 4]], reduction="sum", variant=variant)
    bad = torch.where(torch.arange(5).unsqueeze(-1) == 1, torch.nan, logits.detach()).requires_grad_()
    loss = gumbel_cross_entropy(
        bad, target.masked_fill(ignored, -100), reduction="sum", variant=variant, ignore_index=-100
    )
    torch.testing.assert_close(loss, clean)
    assert (gradient(loss, bad)[1] == 0).all()


def test_the_index_c_names_no_class():
    logits = sample()[0]
    torch.testing.assert_close(
        gumbel_cross_entropy(logits, torch.full((5,), 7)), gumbel_cross_entropy(logits, torch.zeros_like(logits))
    )


@pytest.mark.parametrize("target", [-1, 8])
def test_an_index_out_of_range_is_refused(target):
    with pytest.raises((IndexError, RuntimeError), match="index"):
        gumbel_cross_entropy(sample()[0], torch.full((5,), target))


def test_logits_at_minus_two_cost_8_13_whatever_the_target():
    for target in (0, 600, 1203):
        loss = gumbel_cross_entropy(torch.full((4, 1204), -2.0), torch.full((4,), target))
        assert loss.item() == pytest.approx(8.13, abs=0.005)


def test_the_example_of_the_documentation_runs():
    page = (Path(__file__).parents[1] / "docs" / "loss.md").read_text()
    names: dict = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    assert names["loss"].item() == pytest.approx(8.13, abs=0.005)
    assert names["logits"].grad.isfinite().all()


# The released variant


def released_transcription(logits: np.ndarray, hot: np.ndarray) -> tuple[float, np.ndarray]:
    """Value and gradient of the authors' loss of float64 logits (N, C), their mean over N: as formulas, not as code.

    PyTorch's binary cross-entropy floors its logarithms at -100 and divides by max(p (1 - p), 1e-12).
    """
    clamped = np.clip(logits, -4, 10)
    p = np.exp(-np.exp(-clamped))
    floor = math.exp(-100)
    losses = -hot * np.log(np.maximum(p, floor)) - (1 - hot) * np.log(np.maximum(1 - p, floor))
    slopes = (p - hot) / np.maximum(p * (1 - p), 1e-12) * p * np.exp(-clamped)
    slopes[(logits < -4) | (logits > 10)] = 0
    mean = losses.sum() / len(logits)
    return min(mean, 20.0), slopes / len(logits) * (mean <= 20)


@pytest.mark.parametrize("offset", [-3.0, 0.0, 3.0, 8.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_released_variant_agrees_with_a_transcription_of_the_authors_formula(offset, dtype):
    logits, target = sample(rows=50, classes=3, scale=1.5)
    logits = (logits.detach() / 4 + offset).to(dtype).requires_grad_()
    loss = gumbel_cross_entropy(logits, target, variant="released")
    value, slopes = released_transcription(logits.detach().double().numpy(), one_hot(target, 3).numpy())
    # In float32 the authors' 1 - p itself is off by an epsilon over 1 - p, up to 1e-3 at a logit of 10.
    tolerance = 1e-6 if dtype == torch.float64 or offset <= 0 else 1e-2
    np.testing.assert_allclose(loss.item(), value, rtol=tolerance)
    np.testing.assert_allclose(gradient(loss, logits), slopes, rtol=tolerance, atol=1e-7)


def test_released_gradient_of_a_positive_peaks_near_minus_3_3_and_vanishes_at_minus_4():
    logits = torch.linspace(-3.99, 2, 2000, dtype=torch.float64).unsqueeze(-1).requires_grad_()
    losses = gumbel_cross_entropy(logits, torch.zeros(2000, dtype=torch.long), reduction="none", variant="released")
    slopes = gradient(losses.sum(), logits).squeeze(-1)
    exact = -torch.exp(-logits.detach().squeeze(-1))
    faithful = logits.detach().squeeze(-1) > -3.31
    torch.testing.assert_close(slopes[faithful], exact[faithful], rtol=1e-9, atol=0)
    assert slopes.min().item() == pytest.approx(-27.6, abs=0.1)
    assert -1e-8 < slopes[0] < 0
    assert exact[0] < -54


def test_released_loss_is_clamped_to_20_after_the_reduction():
    logits = torch.full((2, 4), -3.5, requires_grad=True)
    target = torch.zeros(2, dtype=torch.long)
    assert gumbel_cross_entropy(logits, target, reduction="none", variant="released").min() > 30
    loss = gumbel_cross_entropy(logits, target, variant="released")
    assert loss == 20
    assert (gradient(loss, logits) == 0).all()


# A drop-in


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3)])
def test_any_leading_shape_is_a_shape_of_samples(shape):
    logits = torch.randn(*shape, 4, dtype=torch.float64)
    target = torch.randint(4, shape)
    losses = gumbel_cross_entropy(logits, target, reduction="none")
    assert losses.shape == shape
    flat = gumbel_cross_entropy(logits.reshape(-1, 4), target.reshape(-1), reduction="none")
    torch.testing.assert_close(losses.reshape(-1), flat)


@pytest.mark.parametrize("variant", ["exact", "released"])
@pytest.mark.parametrize("shape", [(0, 1204), (0, 0), (2, 0, 3)])
def test_no_samples_cost_zero_with_a_valid_graph(variant, shape):
    logits = torch.zeros(shape, requires_grad=True)
    loss = gumbel_cross_entropy(logits, torch.zeros(shape[:-1], dtype=torch.long), variant=variant)
    assert loss == 0
    assert gradient(loss, logits).shape == shape


def test_meta_tensors_pass_through():
    logits = torch.zeros(512, 1204, device="meta", requires_grad=True)
    target = torch.zeros(512, dtype=torch.long, device="meta")
    assert gradient(gumbel_cross_entropy(logits, target), logits).shape == logits.shape


def test_blocks_of_rows_give_what_the_rows_give_alone():
    logits, target = sample(rows=200, classes=1204)
    losses = gumbel_cross_entropy(logits, target, reduction="none")
    rows = [gumbel_cross_entropy(q, y) for q, y in zip(logits, target, strict=True)]
    torch.testing.assert_close(losses, torch.stack(rows))
    torch.testing.assert_close(gradient(losses.sum(), logits), gradient(sum(rows), logits))


def test_a_retained_graph_gives_the_same_gradient_again():
    logits, target = sample()
    loss = gumbel_cross_entropy(logits, target)
    first = torch.autograd.grad(loss, logits, retain_graph=True)[0]
    kept = first.clone()
    first.zero_()  # the caller's buffer: nothing of it may be used again
    again = torch.autograd.grad(3 * loss, logits, retain_graph=True)[0]
    torch.testing.assert_close(again, 3 * kept, rtol=1e-15, atol=0)
    third = torch.autograd.grad(loss, logits, create_graph=True)[0]
    torch.testing.assert_close(third, kept)


def test_one_buffer_is_alive_between_forward_and_backward_and_becomes_the_gradient():
    logits = torch.randn(256, 1204, requires_grad=True)
    target = torch.randint(1204, (256,))
    size = logits.numel() * logits.element_size()
    benchmark = load("loss")
    ours = benchmark.measure_memory(gumbel_cross_entropy, logits, target)
    assert ours <= size + 3 * 4 * (1 << 16) + 64 * len(logits)
    assert 5 * benchmark.measure_memory(gumbel_cross_entropy, *benchmark.draw(512, 1204)) <= benchmark.measure_memory(
        benchmark.released, *benchmark.draw(512, 1204)
    )


def test_torch_func_gives_gradients_per_sample_and_hessians():
    logits, target = sample()
    expected = gradient(gumbel_cross_entropy(logits, target, reduction="sum"), logits)
    torch.testing.assert_close(
        torch.func.grad(lambda q: gumbel_cross_entropy(q, target, reduction="sum"))(logits), expected
    )
    per_sample = torch.func.vmap(torch.func.grad(gumbel_cross_entropy))(logits, target)
    torch.testing.assert_close(per_sample, expected)
    shared = torch.func.vmap(lambda q: gumbel_cross_entropy(q, target))(torch.stack([logits, logits + 1]))
    torch.testing.assert_close(shared[1], gumbel_cross_entropy(logits + 1, target))
    hessian = torch.func.jacrev(torch.func.jacrev(lambda q: gumbel_cross_entropy(q, target[0])))(logits[0])
    autograd = torch.autograd.functional.hessian(lambda q: gumbel_cross_entropy(q, target[0]), logits[0].detach())
    torch.testing.assert_close(hessian, autograd)
    assert (hessian - hessian.diag().diag() == 0).all()


def test_what_the_docstring_says_of_transformations_is_so():
    logits, target = sample()
    traced = torch.jit.trace(lambda q: gumbel_cross_entropy(q, target), logits.detach())
    torch.testing.assert_close(traced(logits + 1), gumbel_cross_entropy(logits + 1, target))
    exported = torch.export.export(GumbelCrossEntropyLoss(), (logits, target)).module()
    torch.testing.assert_close(exported(logits + 1, target), gumbel_cross_entropy(logits + 1, target))
    with pytest.raises(NotImplementedError, match="forward mode"):
        torch.func.hessian(lambda q: gumbel_cross_entropy(q, target[0]))(logits[0].detach())
    with pytest.raises(torch.jit.frontend.NotSupportedError):
        torch.jit.script(gumbel_cross_entropy)


@pytest.mark.parametrize("options", [{}, {"variant": "released"}, {"ignore_index": 0}, {"reduction": "sum"}])
def test_is_traced_whole_once_for_all_numbers_of_samples(options):
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(gumbel_cross_entropy, fullgraph=True, backend=counter)
    for rows in (5, 9, 300, 1000):
        logits, target = sample(rows, classes=200)
        loss, expected = compiled(logits, target, **options), gumbel_cross_entropy(logits, target, **options)
        torch.testing.assert_close(loss, expected, rtol=1e-13, atol=0)
        torch.testing.assert_close(gradient(loss, logits), gradient(expected, logits), rtol=1e-12, atol=1e-15)
    assert counter.frame_count <= 2  # with the first number as a constant, then with any


@pytest.mark.slow
def test_compiled_loss_is_the_eager_loss():
    logits, target = sample(classes=50)
    loss, expected = torch.compile(gumbel_cross_entropy)(logits, target), gumbel_cross_entropy(logits, target)
    torch.testing.assert_close(loss, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient(loss, logits), gradient(expected, logits), rtol=1e-12, atol=1e-15)


def test_distributed_data_parallel_trains_with_it(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        layer = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 4))
        inputs, target = torch.randn(6, 3), torch.randint(4, (6,))
        GumbelCrossEntropyLoss()(layer(inputs), target).backward()
        weight, bias = (p.detach().requires_grad_() for p in layer.module.parameters())
        loss = gumbel_cross_entropy(torch.nn.functional.linear(inputs, weight, bias), target)
        torch.testing.assert_close(layer.module.weight.grad, gradient(loss, weight))
    finally:
        torch.distributed.destroy_process_group()


def test_module_passes_everything_on():
    logits, target = sample()
    module = GumbelCrossEntropyLoss("sum", "released", ignore_index=2)
    expected = gumbel_cross_entropy(logits, target, torch.full((5,), 2.0), "sum", "released", ignore_index=2)
    torch.testing.assert_close(module(logits, target, torch.full((5,), 2.0)), expected)
    assert "released" in repr(module)
    averaged = GumbelCrossEntropyLoss()(logits, target, avg_factor=2)
    torch.testing.assert_close(averaged, gumbel_cross_entropy(logits, target, avg_factor=2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": torch.zeros(4, dtype=torch.long)}, "class indices of shape"),
        ({"target": torch.zeros(5)}, "integer class indices"),
        ({"target": torch.zeros(5, dtype=torch.bool)}, "integer class indices"),
        ({"target": torch.zeros(5, 7, requires_grad=True)}, "constant target"),
        ({"weight": torch.ones(5, requires_grad=True)}, "constant weight"),
        ({"weight": torch.ones(7)}, "broadcasts"),
        ({"reduction": "average"}, "reduction"),
        ({"reduction": "sum", "avg_factor": 2.0}, "avg_factor"),
        ({"variant": "approximate"}, "variant"),
    ],
)
def test_errors_say_what_was_expected(options, message):
    with pytest.raises(ValueError, match=message):
        gumbel_cross_entropy(**{"logits": sample()[0], "target": torch.zeros(5, dtype=torch.long)} | options)

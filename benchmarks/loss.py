"""Time and memory of the Gumbel loss against what it would replace; prints a Markdown table of ratios.

    python benchmarks/loss.py
    python benchmarks/loss.py --rows 512 8192 --classes 1204 --rounds 30 --device cuda

Each round runs forward and backward of every contender once, in an order that turns, and gives one
ratio per contender. The table shows the median of the ratios and their quartiles; below 1 the
Gumbel loss is the faster or the smaller. Peak memory is what the run allocates at most at one time
beyond the logits, the returned gradient included.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from gumbel import gumbel_cross_entropy

Loss = Callable[[Tensor, Tensor], Tensor]


def released(logits: Tensor, target: Tensor) -> Tensor:
    """The released formula, written plainly."""
    dense = torch.zeros_like(logits)
    dense[torch.arange(len(logits), device=logits.device), target] = 1
    scores = 1 / torch.exp(torch.exp(-torch.clamp(logits, min=-4, max=10)))
    loss = F.binary_cross_entropy(scores, dense, reduction="none").sum() / len(logits)
    return torch.clamp(loss, min=0, max=20)


def sigmoid(logits: Tensor, target: Tensor) -> Tensor:
    """What a user of the sigmoid runs: mmdet too expands the labels first."""
    dense = F.one_hot(target, logits.shape[-1]).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, dense, reduction="sum") / len(logits)


def draw(rows: int, classes: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Logits around the initial bias of -2, and class indices."""
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(rows, classes, generator=generator) - 2).to(device).requires_grad_()
    return logits, torch.randint(classes, (rows,), generator=generator).to(device)


def measure_time(loss: Loss, logits: Tensor, target: Tensor) -> float:
    """Seconds of one forward and backward."""
    synchronize(logits)
    start = time.perf_counter()
    torch.autograd.grad(loss(logits, target), logits)
    synchronize(logits)
    return time.perf_counter() - start


def measure_memory(loss: Loss, logits: Tensor, target: Tensor) -> int:
    """Peak bytes allocated at one time during one forward and backward."""
    if logits.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        torch.autograd.grad(loss(logits, target), logits)
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        torch.autograd.grad(loss(logits, target), logits)
    changes = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def count_kernels(loss: Loss, logits: Tensor, target: Tensor) -> int:
    """Kernels that one forward and backward launch on a GPU."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        torch.autograd.grad(loss(logits, target), logits)
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profiler.events())


def synchronize(logits: Tensor) -> None:
    """Wait for a GPU."""
    if logits.is_cuda:
        torch.cuda.synchronize()


def quartiles(values: list[float]) -> str:
    """Median and quartiles, as in "0.21 [0.20, 0.23]"."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def compare(losses: dict[str, Loss], rows: int, classes: int, rounds: int, device: str) -> list[str]:
    """Lines of the table for one shape; the first of ``losses`` is divided by each of the others."""
    logits, target = draw(rows, classes, device)
    names = list(losses)
    times: dict[str, list[float]] = {name: [] for name in names}
    for loss in losses.values():  # compilers, caches and allocators warm up
        measure_time(loss, logits, target)
        measure_time(loss, logits, target)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times[name].append(measure_time(losses[name], logits, target))
    memory = {name: measure_memory(loss, logits, target) for name, loss in losses.items()}
    lines = []
    for name, loss in losses.items():
        ratios = [ours / theirs for ours, theirs in zip(times[names[0]], times[name], strict=True)]
        buffers = memory[name] / (logits.numel() * logits.element_size())
        cells = [
            f"{rows} x {classes}",
            name,
            f"{1e3 * statistics.median(times[name]):.1f}",
            quartiles(ratios),
            f"{buffers:.2f}",
            f"{memory[names[0]] / memory[name]:.2f}",
            str(count_kernels(loss, logits, target)) if logits.is_cuda else "-",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192])
    parser.add_argument("--classes", type=int, default=1204)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile of each")
    options = parser.parse_args()
    losses: dict[str, Loss] = {
        "gumbel": gumbel_cross_entropy,
        "(a) released formula": released,
        "(b) sigmoid, one-hot": sigmoid,
        "(c) softmax": F.cross_entropy,
    }
    if options.compile:
        losses |= {f"{name}, compiled": torch.compile(loss, dynamic=False) for name, loss in losses.items()}
    print(f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads, float32\n")
    print("| N x C | loss | ms | time: gumbel / it | memory in N x C | memory: gumbel / it | kernels |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for rows in options.rows:
        print("\n".join(compare(losses, rows, options.classes, options.rounds, options.device)), flush=True)


if __name__ == "__main__":
    main()

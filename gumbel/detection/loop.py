"""A training loop that goes on after an interruption as if there had been none.

Everything random depends on the training's seed and on a count alone: the order of the images and what augments them on
the place in the stream of images, what the model draws (the RoIs that mmdet samples) on the count of batches. So the
checkpoint needs no random state but the iteration, and neither the number of loading processes nor that of training
processes changes what is drawn.
"""

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, LOOPS
from mmengine.runner import BaseLoop

from gumbel.detection.parts import check_categories, unwrapped

#: The two streams of random numbers.
IMAGE, BATCH = 0, 1


@LOOPS.register_module()
class ResumableTrainLoop(BaseLoop):
    """Iterations, from wherever the checkpoint left them.

    mmengine's own loop restores weights, optimiser and schedule, but neither the random state nor,
    except by reading all skipped images again, the place in the data.

    Args:
        max_iters: batches that each process trains on.
        data_timeout: seconds to wait for a batch from the loading processes before the training fails.
    """

    max_epochs = 1
    epoch = _epoch = 0

    def __init__(self, runner: Any, dataloader: dict, max_iters: int, data_timeout: float = 600.0):
        placed = dict(dataloader)
        placed["dataset"] = dict(type="PlacedDataset", dataset=dataloader["dataset"], seed=runner.seed)
        placed["sampler"] = dict(dataloader["sampler"], type="PlacedSampler", batch_size=dataloader["batch_size"])
        if dataloader["num_workers"]:
            placed["timeout"] = data_timeout
        super().__init__(runner, placed)
        self.max_iters = max_iters
        self.stop_training = False
        self._iter = 0

    @property
    def iter(self) -> int:
        return self._iter

    def run(self) -> torch.nn.Module:
        runner = self.runner
        rank, processes = get_dist_info()
        check_categories(unwrapped(runner.model), self.dataloader.dataset)
        runner.call_hook("before_train")
        runner.call_hook("before_train_epoch")
        self.dataloader.sampler.start = self._iter
        batches = iter(self.dataloader) if self._iter < self.max_iters else iter(())
        while self._iter < self.max_iters and not self.stop_training:
            batch = next(batches)
            seed_generators(runner.seed, BATCH, self._iter * processes + rank)
            runner.model.train()
            runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=batch)
            outputs = runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)
            runner.call_hook("after_train_iter", batch_idx=self._iter, data_batch=batch, outputs=outputs)
            self._iter += 1
        runner.call_hook("after_train_epoch")
        runner.call_hook("after_train")
        return runner.model


@DATA_SAMPLERS.register_module()
class PlacedSampler(InfiniteSampler):
    """mmengine's endless order of the images as pairs (index, place): ``place`` counts images from the first on.

    mmengine deals single images to the processes. Here they take turns, a batch each, so that iteration ``i`` of
    process ``r`` of ``n`` trains on the images of iteration ``i * n + r`` of a training with one process.
    """

    def __init__(self, dataset: Any, batch_size: int, shuffle: bool = True, seed: int | None = None):
        super().__init__(dataset, shuffle, seed)
        self.batch_size = batch_size
        self.start = 0  #: iteration that the next iterator begins with

    def __iter__(self) -> Iterator[tuple[int, int]]:
        turn = self.batch_size * self.world_size
        own = range(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)
        for place, index in islice(enumerate(self._infinite_indices()), self.start * turn, None):
            if place % turn in own:
                yield index, place


@DATASETS.register_module()
class PlacedDataset(torch.utils.data.Dataset):
    """A data set of which each image is augmented with the random numbers of its place."""

    def __init__(self, dataset: dict, seed: int):
        self.dataset = DATASETS.build(dataset)
        self.seed = seed

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # while it is being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, placed: tuple[int, int]) -> Any:
        index, place = placed
        seed_generators(self.seed, IMAGE, place)
        return self.dataset[index]


def seed_generators(seed: int, stream: int, count: int) -> None:
    """Seed Python's, NumPy's and PyTorch's generators."""
    state = int(np.random.SeedSequence([seed, stream, count]).generate_state(1)[0])
    random.seed(state)
    np.random.seed(state)  # noqa: NPY002 - mmdet's transforms draw from the global generator
    torch.manual_seed(state)

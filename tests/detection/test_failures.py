"""A failure of memory or of the data loader says what to do."""

import time

import pytest
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader, Dataset

from gumbel.detection.failures import explain

CONFIG = Config(dict(train_dataloader=dict(batch_size=4, num_workers=2, dataset=dict(type="LVISV1Dataset"))))


class Faulty(Dataset):
    """Images that cannot be read: the file system hangs, or the process is killed."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if self.fault == "hangs":
            time.sleep(3)
        elif self.fault == "killed":
            import os
            import signal

            os.kill(os.getpid(), signal.SIGKILL)
        return index


def failure_of(fault: str) -> Exception:
    with pytest.raises(RuntimeError) as found:
        list(DataLoader(Faulty(fault), num_workers=2, timeout=0.5))
    return found.value


def test_a_loader_that_hangs_is_a_timeout_with_a_suggestion():
    error = explain(failure_of("hangs"), CONFIG)
    assert isinstance(error, TimeoutError)
    assert "expected the next batch from 2 loading processes" in str(error)
    assert "num_workers 0" in str(error)


def test_a_loading_process_that_is_killed_is_a_lack_of_memory():
    error = explain(failure_of("killed"), CONFIG)
    assert isinstance(error, MemoryError)
    assert "ask for more memory, or use fewer loading processes" in str(error)


def test_too_little_memory_suggests_smaller_batches():
    with pytest.raises(RuntimeError) as found:
        torch.empty(1 << 60)
    error = explain(found.value, CONFIG)
    assert isinstance(error, MemoryError)
    assert "load fewer images at once (now 4, with 2 loading processes)" in str(error)


def test_too_little_gpu_memory_suggests_accumulation():
    error = explain(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"), CONFIG)
    assert isinstance(error, MemoryError)
    assert str(error).endswith("(now 4 a GPU) and accumulate over as many more iterations")
    assert "Tried to allocate 2.00 GiB. Load" in str(error)


def test_another_failure_stays_itself():
    error = KeyError("x")
    assert explain(error, CONFIG) is error

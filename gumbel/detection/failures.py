"""Why a training failed, in words that say what to do."""

import torch
from mmengine.config import Config


def explain(error: Exception, config: Config) -> Exception:
    """``error``, or a clearer one in its place where memory or the data loader failed.

    A job that the kernel kills for its memory (SIGKILL, exit code 137) cannot say anything itself: SLURM's log then
    ends with ``oom_kill``, and the next attempt goes on from the last checkpoint.
    """
    text = str(error)
    first_line = text.partition("\n")[0]
    images = config.train_dataloader.batch_size
    workers = config.train_dataloader.num_workers
    if isinstance(error, torch.OutOfMemoryError):
        return MemoryError(
            f"expected the training to fit into GPU memory, found: {first_line} "
            f"Load fewer images at once (now {images} a GPU) and accumulate over as many more iterations"
        )
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "Cannot allocate memory" in text:
        return MemoryError(
            f"expected the training to fit into memory, found: {first_line or 'no memory left'}; "
            f"ask for more memory, or load fewer images at once (now {images}, with {workers} loading processes)"
        )
    if text.startswith("DataLoader timed out"):
        return TimeoutError(
            f"expected the next batch from {workers} loading processes, found: {first_line}. "
            f"Look whether {config.train_dataloader.dataset.type}'s files can be read at all on this host; "
            "a file system that hangs, or a library that deadlocks after fork, stops them: try num_workers 0"
        )
    if text.startswith("DataLoader worker") and "Bus error" in text:
        return MemoryError(
            f"expected room in /dev/shm for the batches of {workers} loading processes, found: {first_line}; "
            "enlarge it (--shm-size of a container), or use fewer loading processes"
        )
    if text.startswith("DataLoader worker"):
        return MemoryError(
            f"expected {workers} loading processes to live, found: {first_line}; mostly the kernel kills one "
            "when memory is short: ask for more memory, or use fewer loading processes"
        )
    return error

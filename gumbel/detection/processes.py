"""The processes of one training, one a GPU: started by ``torchrun`` or ``srun``; without a launcher there is one."""

import os
import subprocess
import time
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from gumbel.jobs import signals

_GO, _HEARD = "go", "heard"
#: Longest wait for another process in a collective: above the longest difference between two processes' loading.
_TIMEOUT = timedelta(minutes=30)


class Processes:
    """What the launcher says of this process: its ``rank`` among ``number``; and the way to speak with the others.

    Raises:
        ValueError: there are GPUs, but fewer than processes on this host.
    """

    def __init__(self) -> None:
        _adopt_step()
        self.number = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0)) if self.number > 1 else 0
        self._local_rank = int(os.environ.get("LOCAL_RANK", 0))
        self._gpus = torch.cuda.device_count()
        if self.number == 1:
            return
        local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        if 0 < self._gpus < local:
            raise ValueError(
                f"expected a GPU for each of the {local} processes on this host, found {self._gpus}; "
                f"start torchrun with --nproc-per-node {self._gpus}, or ask for more GPUs"
            )
        self._store, _, _ = next(distributed.rendezvous("env://", timeout=_TIMEOUT))

    def tell(self, message: str) -> None:
        """Give ``message`` to every process that waits in :meth:`hear`, and wait until all have heard."""
        if self.number > 1:
            self._store.set(_GO, message)
            # Without torchrun the store ends with this process
            while self._store.add(_HEARD, 0) < self.number - 1:
                time.sleep(0.05)

    def hear(self) -> str:
        """Wait, as long as it takes, for what the first process tells.

        Raises:
            SystemExit: a signal asked this process to stop.
        """
        while not self._store.check([_GO]):
            if received := signals.received():
                raise SystemExit(signals.exit_code(received))
            time.sleep(0.2)
        message = self._store.get(_GO).decode()
        self._store.add(_HEARD, 1)
        return message

    def connect(self) -> dict[str, Any]:
        """Join the others, over NCCL between GPUs and gloo between CPUs; what mmengine's runner must know of it."""
        if self.number == 1:
            return {}
        if self._gpus:
            torch.cuda.set_device(self._local_rank)
        backend, store = "nccl" if self._gpus else "gloo", distributed.PrefixStore("training", self._store)
        distributed.init_process_group(backend, timeout=_TIMEOUT, store=store, rank=self.rank, world_size=self.number)
        device_ids = [self._local_rank] if self._gpus else None
        wrapper = dict(type="MMDistributedDataParallel", broadcast_buffers=False, device_ids=device_ids)
        return dict(launcher="pytorch", model_wrapper_cfg=wrapper)

    def leave(self) -> None:
        """Wait for the others, since torchrun ends all when one ends, and say goodbye."""
        if distributed.is_initialized():
            distributed.barrier()
            distributed.destroy_process_group()


def _adopt_step() -> None:
    """Where ``srun`` started several tasks, say so in the variables that ``torchrun`` would have set."""
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if tasks == 1 or "RANK" in os.environ:
        return
    nodes = os.environ["SLURM_STEP_NODELIST"]
    first, *_ = subprocess.run(
        ["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True
    ).stdout.split()
    os.environ |= {
        "RANK": os.environ["SLURM_PROCID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(tasks // int(os.environ["SLURM_STEP_NUM_NODES"])),
        "MASTER_ADDR": first,
        "MASTER_PORT": str(20000 + int(os.environ["SLURM_JOB_ID"]) % 40000),
    }

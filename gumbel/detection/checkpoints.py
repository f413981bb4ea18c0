"""Weights on disk, loaded without executing pickled code."""

import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn

from gumbel.jobs.files import atomic_path
from gumbel.jobs.terminal import say


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the state dict of ``model``, tensors only, atomically. The same weights give the same bytes."""
    # Given a path, PyTorch would write its name, which has the process in it, into the file
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save({name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}, file)


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors at ``path``: a state dict, or the one that mmdet 2.x and 3.x keep under ``state_dict``.

    Raises:
        ValueError: as :func:`load_checkpoint`.
    """
    return load_checkpoint(path)[0]


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], Any]:
    """The tensors at ``path``, and what mmdet keeps beside them under ``meta``, if anything.

    mmdet's checkpoints also carry records of the training as objects of NumPy and of its own packages. Each becomes an
    inert stand-in: no code of these packages, and none of the file, is run.

    Raises:
        ValueError: the file is damaged, would call anything else, or has something else among the tensors.
    """
    foreign = _read(path, _foreign)
    if refused := [name for name in foreign if not name.startswith(_RECORDS) and name not in _DATA]:
        raise ValueError(
            f"expected tensors and records of mmdet in {path}, found that it would call {', '.join(refused)}, which "
            "was not run; use another file, or, where you trust it, load it there and save its state_dict alone"
        )
    with torch.serialization.safe_globals([(_Inert, name) for name in foreign]):
        content = _read(path, partial(torch.load, map_location="cpu", weights_only=True))
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise ValueError(f"expected a state dict in {path}, found {type(content).__name__}")
    if others := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"expected only tensors in the state dict of {path}, found something else under {others[:5]}")
    return dict(state), content.get("meta")


#: What mmdet stores beside the weights, in the message hub, the metadata and the optimiser's state: objects of these
#: packages, and methods of them (mmengine's HistoryBuffer), which pickle writes as a call of getattr.
_RECORDS = ("_codecs.", "collections.", "datetime.", "mmcv.", "mmdet.", "mmengine.", "numpy.", "pathlib.", "torch.")
_TYPES = (bool, bytearray, bytes, complex, dict, float, frozenset, getattr, int, list, object, range, set, slice, str)
_DATA = {f"builtins.{each.__name__}" for each in (*_TYPES, tuple)} | {"argparse.Namespace"}


class _Inert:
    """Stands in for an object of another package."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


def _foreign(path: Path) -> list[str]:
    """Names of the functions and classes that the file would call beyond tensors, read without calling them."""
    if zipfile.is_zipfile(path):
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    with path.open("rb") as file:  # before torch 1.6: magic number, protocol, system and content in turn
        operations = [operation for _ in range(4) for operation in pickletools.genops(file)]
    return sorted({_today(*str(argument).split(" ")) for code, argument, _ in operations if code.name == "GLOBAL"})


def _today(module: str, name: str) -> str:
    """The full name of what pickle writes under its name in Python 2: ``__builtin__ set`` is ``builtins.set``."""
    renamed = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return ".".join(renamed)


def _read(path: Path, reader: Callable[[Path], Any]) -> Any:
    try:
        return reader(path)
    except OSError:
        raise
    except Exception as error:  # whatever a damaged pickle or zip file raises
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(f"expected weights in {path}, found a damaged file or none of PyTorch's ({reason})") from error


def of_classifier(name: str) -> bool:
    """Whether a tensor belongs to a classification layer, or is what its loss has counted."""
    return ".fc_cls." in name or ".loss_cls." in name


def adapt(weights: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Fit the weights of a warm start to ``model``, which has other categories.

    Classifiers and what their losses count start anew. A class-agnostic box or mask predictor becomes class-specific by
    giving every category the same rows.

    Raises:
        ValueError: a tensor fits in neither way.
    """
    expected = model.state_dict()
    adapted = {}
    for name, tensor in weights.items():
        if of_classifier(name):
            continue
        shape = expected[name].shape if name in expected else None
        if shape is None or shape[1:] != tensor.shape[1:] or (shape and shape[0] % tensor.shape[0]):
            raise ValueError(
                f"warm start: expected {name} of shape {None if shape is None else tuple(shape)}, found "
                f"{tuple(tensor.shape)}; train the warm start with the same architecture and widths"
            )
        copies = shape[0] // tensor.shape[0] if shape else 1
        adapted[name] = tensor.repeat(copies, *[1] * (tensor.dim() - 1)) if copies > 1 else tensor
    if missing := [name for name in expected if name not in adapted and not of_classifier(name)]:
        raise ValueError(f"warm start: expected weights for {missing}, found none; train it with the same architecture")
    return adapted


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints to resume from in ``folder``, newest first."""
    return sorted(folder.glob("iter_*.pth"), key=iteration, reverse=True)


def iteration(checkpoint: Path) -> int:
    """How many iterations lie before a checkpoint: ``iter_150.pth`` has 150."""
    return int(checkpoint.stem.removeprefix("iter_"))


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint in ``folder`` that is whole, or None. Damaged ones are removed.

    PyTorch's files are zip archives with a checksum for every tensor, which :func:`torch.load` does not look at.
    """
    for path in checkpoints(folder):
        try:
            with ZipFile(path) as archive:
                damaged = archive.testzip()
        except (BadZipFile, OSError) as error:
            damaged = str(error)
        if damaged is None:
            return path
        say(f"{path} is damaged ({damaged}): going on from the one before it")
        path.unlink()
    return None

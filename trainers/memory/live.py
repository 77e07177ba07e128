"""The bytes of live tensors, counted as they are made and freed: a peak that needs no GPU to be measured.

Every storage that passes torch's dispatcher is counted from its first sight to its end: weights, gradients, optimizer
states, activations, temporaries. Workspaces inside kernels are not seen, nor is what an allocator keeps for itself.
torch.distributed's MemTracker does the same, but raises on frozen weights and on a second step (torch 2.15).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ATEN = torch.ops.aten


class LiveBytes(TorchDispatchMode):  # type: ignore[misc]
    """Counts `live` bytes and their `peak` while it is entered."""

    what = "live tensors"

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._seen: dict[int, weakref.ref[Any]] = {}

    def begin(self) -> None:
        """Forgets the peak so far."""
        self.peak = self.live

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = self.run(func, args, kwargs or {})
        for one in tree_leaves(out):
            if isinstance(one, torch.Tensor):
                self._count(one)
        return out

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """What the operation gives."""
        return func(*args, **kwargs)

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        known = self._seen.get(key)
        if known is not None and known() is storage:
            return
        size = storage.nbytes()
        self._seen[key] = weakref.ref(storage)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._freed, size)

    def _freed(self, size: int) -> None:
        self.live -= size


class FakeBytes(LiveBytes):
    """The same over tensors that are shapes alone; nothing is computed, so 8B parameters fit anywhere.

    What Python code reads out of a tensor is answered with a constant: 1, and True only for "all of a mask". A boolean
    mask chooses `chosen` positions, which the caller knows, since it made the rows.
    """

    def __init__(self, *, chosen: int) -> None:
        super().__init__()
        self.chosen = chosen
        self._true: weakref.WeakSet[Any] = weakref.WeakSet()

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if func is ATEN._local_scalar_dense.default:
            one = args[0]
            if one.dtype is torch.bool:
                return any(one is true for true in self._true)
            return 1.0 if one.is_floating_point() else 1
        if func is ATEN.index.Tensor and _masked(args[1]):
            mask = args[1][0]
            return args[0].new_empty((self.chosen, *args[0].shape[mask.dim() :]))
        if func is ATEN.index_put_.default and _masked(args[1]):
            return args[0]
        if func in (ATEN._index_put_impl_.default, ATEN.index_put.default) and _masked(args[1]):
            return args[0] if func is ATEN._index_put_impl_.default else torch.empty_like(args[0])
        if func is ATEN.nonzero.default:
            return args[0].new_empty((self.chosen, args[0].dim()), dtype=torch.int64)
        if func is ATEN.masked_select.default:
            return args[0].new_empty((self.chosen,))
        out = func(*args, **kwargs)
        if func is ATEN.all.default:
            self._true.add(out)
        return out


def _masked(indices: Any) -> bool:
    return any(isinstance(one, torch.Tensor) and one.dtype is torch.bool for one in indices)


@contextmanager
def shapes_only(*, chosen: int, padded: bool) -> Iterator[FakeBytes]:
    """A context in which tensors are shapes alone; everything runs on one device, so moving a module does nothing.

    transformers looks into a mask to see whether it can do without, and never does where tensors are traced; here it is
    told what it would have found: whether rows are `padded`.
    """
    from transformers import masking_utils

    def stays(module: torch.nn.Module, *_: Any, **__: Any) -> torch.nn.Module:
        return module

    count = FakeBytes(chosen=chosen)
    with (
        mock.patch.object(masking_utils, "is_tracing", return_value=False),
        mock.patch.object(masking_utils, "fast_all", return_value=not padded),
        mock.patch.object(torch.nn.Module, "to", stays),
        FakeTensorMode(allow_non_fake_inputs=True),
        count,
    ):
        yield count

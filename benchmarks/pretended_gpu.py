"""A GPU that is not there: tensors that say they are on ``cuda:0``, counted as they are worked on.

    with PretendedGpu() as gpu:
        model = mfv_dsl.load_model("tiny", device="cuda:0")
        ...
    print(gpu.counts())

The numbers are computed by the processor.  What a GPU would have to wait for is counted: values
brought over to the processor (``.item()``, ``.cpu()``, ``.tolist()``, ``bool(tensor)``), operations
whose result has as many rows as the data say (``nonzero``, a mask as an index), copies to the
device that are not from pinned memory and ``non_blocking``, and questions for free memory.  So are
kernels: operations that make or change numbers on the device, one each.  A GPU's libraries may use
more or fewer for one; that of attention counts as one.

The way back of autograd is not run: gradients are zero.  Tensors on the processor are as ever.
Mixing them with the others is the error that a GPU gives.
"""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

DEVICE = torch.device("cuda", 0)
MEMORY = 140 << 30
PACKAGE = str(Path(__file__).parents[1] / "mfv_dsl")
_aten = torch.ops.aten
#: Operations that wait for the device: what comes out depends on the data.
_WAITING = {
    _aten._local_scalar_dense, _aten.equal, _aten.nonzero, _aten.masked_select, _aten._unique2,
    _aten.unique_consecutive, _aten.bincount, _aten.is_nonzero, _aten.unique_dim,
}  # fmt: skip
_INDEXING = {_aten.index, _aten.index_put, _aten.index_put_, _aten._index_put_impl_}
_WITHOUT_KERNEL = {
    _aten.empty, _aten.empty_like, _aten.empty_strided, _aten.new_empty, _aten.new_empty_strided,
    _aten.detach, _aten.alias, _aten.lift_fresh, _aten._local_scalar_dense, _aten.split,
}  # fmt: skip


class OnDevice(torch.Tensor):
    """A tensor that says it is on the device; ``numbers`` has what is in it."""

    numbers: torch.Tensor

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> OnDevice:
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, numbers.size(), strides=numbers.stride(), storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype, layout=numbers.layout, device=DEVICE,
        )  # fmt: skip
        made.numbers = numbers
        return made  # type: ignore[no-any-return]

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({self.numbers!r})"

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is torch.Tensor.tolist:
            return args[0].cpu().tolist()
        if function in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            args = (args[0], _GPUS[-1].index(args[1]), *args[2:])
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _GPUS[-1].perform(function, args, kwargs or {})


_GPUS: list[PretendedGpu] = []


@dataclass(frozen=True)
class Counts:
    """What happened: ``waits`` of the processor for the device, ``kernels`` started on it.
    ``places`` has the waits by kind and place in the package."""

    waits: int
    kernels: int
    places: Counter[str] = field(default_factory=Counter, repr=False)
    operations: Counter[str] = field(default_factory=Counter, repr=False)


class PretendedGpu(TorchDispatchMode):
    """A context in which ``cuda:0`` is there; see the module."""

    device = DEVICE

    def __init__(self) -> None:
        super().__init__()
        self._waits: Counter[str] = Counter()
        self._kernels: Counter[str] = Counter()
        self._stack = ExitStack()

    def __enter__(self) -> PretendedGpu:
        for name, value in {
            "_lazy_init": lambda: None,
            "device_count": lambda: 1,
            "is_available": lambda: True,
            "synchronize": lambda *_: self._wait("synchronize"),
            "current_stream": lambda *_: self,
            "mem_get_info": self._memory,
            "get_device_properties": lambda *_: SimpleNamespace(total_memory=MEMORY),
            "memory_reserved": lambda *_: 0,
            "memory_allocated": lambda *_: 0,
            "empty_cache": lambda: None,
        }.items():
            self._stack.enter_context(patch.object(torch.cuda, name, value))
        self._stack.enter_context(patch.object(torch.Tensor, "pin_memory", _pinned))
        self._stack.enter_context(patch.object(torch.autograd, "grad", _no_way_back))
        # torch.tensor(…, device=…): made on the processor, then copied where that can be seen
        self._stack.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)
        future: Any = torch.__future__  # else a module on the processor takes the others' shells
        usual = future.get_overwrite_module_params_on_conversion()
        future.set_overwrite_module_params_on_conversion(True)
        self._stack.callback(future.set_overwrite_module_params_on_conversion, usual)
        _let_autograd_in()
        _GPUS.append(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _GPUS.remove(self)
        self._stack.close()

    def counts(self) -> Counts:
        """What happened since the last time this was asked."""
        counts = Counts(self._waits.total(), self._kernels.total(), self._waits, self._kernels)
        self._waits, self._kernels = Counter(), Counter()
        return counts

    def synchronize(self) -> None:
        """What a stream has: wait for it."""
        self._wait("what is brought together")

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return self.perform(function, args, kwargs or {})

    def perform(self, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run one operation on the numbers, and count it."""
        flat, tree = tree_flatten((args, kwargs))
        ours = {id(part.numbers): part for part in flat if isinstance(part, OnDevice)}
        target = kwargs.get("device")
        target = None if target is None else torch.device(target)
        if not ours and (target is None or target.type != "cuda"):
            return function(*args, **kwargs)
        packet = function.overloadpacket
        if packet is _aten._fused_sdp_choice:
            return 2 if not torch.is_grad_enabled() else 0
        self._check(packet, flat)
        on_device = target.type == "cuda" if target is not None else True
        if packet is _aten.copy_:
            on_device = isinstance(args[0], OnDevice)
        self._count(packet, function, args, kwargs, on_device)
        plain = [part.numbers if isinstance(part, OnDevice) else part for part in flat]
        plain_args, plain_kwargs = tree_unflatten(plain, tree)
        if target is not None:
            plain_kwargs["device"] = torch.device("cpu")
        plain_kwargs.pop("pin_memory", None)
        run = _attention if packet is _aten._scaled_dot_product_efficient_attention else function
        result = run(*plain_args, **plain_kwargs)
        if function._schema.is_mutable and packet is _aten.copy_:
            return args[0]
        parts, shape = tree_flatten(result)
        wrapped = [
            ours[id(part)] if id(part) in ours
            else OnDevice(part) if on_device and isinstance(part, torch.Tensor)
            else part for part in parts
        ]  # fmt: skip
        return tree_unflatten(wrapped, shape)

    def index(self, index: Any) -> Any:
        """An index with its lists, and tensors on the processor, brought to the device."""
        if isinstance(index, tuple):
            return tuple(map(self.index, index))
        if isinstance(index, list):
            index = torch.tensor(index)
        if isinstance(index, torch.Tensor) and not isinstance(index, OnDevice):
            self._wait("copy to the device (index)")
            return OnDevice(index)
        return index

    def _check(self, packet: Any, flat: list[Any]) -> None:
        """Refuse what a GPU refuses: tensors of both kinds, numbers aside."""
        if packet is _aten.copy_ or packet is _aten._to_copy:
            return
        tensors = [part for part in flat if isinstance(part, torch.Tensor)]
        if packet in _INDEXING:
            if not isinstance(tensors[0], OnDevice):
                raise RuntimeError("indices should be on cpu, as the indexed tensor is")
            for index in tensors[1:]:
                if not isinstance(index, OnDevice) and index.ndim:
                    self._wait("copy to the device (index)")
            return
        strange = [part for part in tensors if not isinstance(part, OnDevice) and part.ndim]
        if strange and len(strange) < len(tensors):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found cuda:0 and cpu: {packet}"
            )

    def _count(
        self, packet: Any, function: Any, args: Any, kwargs: dict[str, Any], on_device: bool
    ) -> None:
        if packet in (_aten._to_copy, _aten.copy_):
            source: Any = args[1] if packet is _aten.copy_ else args[0]
            quick = kwargs.get("non_blocking", args[2] if len(args) > 2 else False)
            from_device = isinstance(source, OnDevice)
            if not source.numel():
                return
            if from_device and not on_device:
                if quick:  # into pinned memory; whoever reads it has to wait for the stream
                    return
                self._wait("copy to the processor")
                return
            if not from_device and on_device:
                if not quick or not getattr(source, "is_said_pinned", False):
                    self._wait("copy to the device")
                return
        if packet in _WAITING:
            self._wait(str(packet))
        if packet in _INDEXING:
            masks = [index for index in args[1] if index is not None and index.dtype == torch.bool]
            if masks:
                self._wait("a mask as an index")
        returns = function._schema.returns
        is_view = any(r.alias_info and not r.alias_info.is_write for r in returns)
        if not is_view and packet not in _WITHOUT_KERNEL:
            self._kernels[str(packet)] += 1

    def _wait(self, what: str) -> None:
        frame: Any = sys._getframe(1)
        while frame is not None and (
            not frame.f_code.co_filename.startswith(PACKAGE)
            or frame.f_code.co_filename.endswith("transfer.py")
        ):
            frame = frame.f_back
        place = "elsewhere"
        if frame is not None:
            place = f"{frame.f_code.co_filename[len(PACKAGE) + 1 :]}:{frame.f_lineno}"
        self._waits[f"{what}, {place}"] += 1

    def _memory(self, *_: Any) -> tuple[int, int]:
        self._wait("free memory")
        return MEMORY, MEMORY


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    copy: Any = tensor.clone()
    copy.is_said_pinned = True
    return copy  # type: ignore[no-any-return]


def _no_way_back(outputs: Any, inputs: Any, *_: Any, **__: Any) -> tuple[torch.Tensor, ...]:
    """Gradients of zero: PyTorch's engine for the way back asks for a real device."""
    values = [inputs] if isinstance(inputs, torch.Tensor) else inputs
    return tuple(torch.zeros_like(value) for value in values)


def _let_autograd_in() -> None:
    """Give the device the guard that does nothing, which autograd asks for; PyTorch does so itself
    for a build with CUDA on a machine without (``torch._C._ensureCUDADeviceGuardSet``)."""
    if torch.version.cuda is not None:
        torch._C._ensureCUDADeviceGuardSet()
        return
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * 32).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    cuda, meta = 1, 14  # c10::DeviceType
    guards[cuda] = guards[meta]


def _attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor | None,
    _: bool, dropout: float = 0.0, is_causal: bool = False, *, scale: float | None = None,
) -> Any:  # fmt: skip
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, bias, dropout, is_causal, scale=scale
    )
    nothing = query.new_empty(0)
    return out, nothing, nothing, nothing

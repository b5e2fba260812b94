"""Pickles of tensors, arrays and plain containers, read without running anything of theirs.

A pickle is a program.  This one may only build numbers, texts, lists, tuples, dicts and sets, and
call a handful of functions, which are written here and stand for those of torch, numpy and the
standard library that such things are pickled with.  Everything else is refused before or while it
is read.  Tensors and arrays come as :class:`Numbers`, of which nothing is copied; the files of
``torch.save`` are :mod:`torch_file`'s.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np

from mfv_dsl.library.header import LARGEST

#: What a pickle may have: steps of its program, and parts within parts.
_STEPS, _DEEPEST = 200_000, 100
_REPEATED = 16 << 20  # bytes that an array may have beyond those that are stored
_ARRAY = "numpy.ndarray"  # what stands for the class, which would allocate what it is asked to
_FILLS = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}
#: The dtypes of arrays, and the classes of torch's storages, whose numbers can be read.
_CODES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
STORAGES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": "bf16",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "b1",
}  # fmt: skip


class Refused(Exception):
    """A pickle that would do more than hold numbers; the text says what."""


@dataclass(frozen=True)
class Storage:
    """The numbers of tensors, of a type that ``code`` names, None for one that is not read;
    ``data`` gives their bytes."""

    code: str | None
    count: int
    data: Callable[[], Any]
    order: str = "<"


@dataclass(frozen=True)
class Numbers:
    """A tensor or an array: a view of a storage, ``offset`` and ``stride`` counted in numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many numbers it has, however few are stored."""
        return math.prod(self.shape)

    def array(self) -> np.ndarray | None:
        """Its numbers, as they are stored but for bfloat16, which comes as float32; None for types
        that are not read.  ValueError where it reaches beyond its storage."""
        code = self.storage.code
        if code is None:
            return None
        dtype = np.dtype(self.storage.order + ("u2" if code == "bf16" else code))
        data = self.storage.data()
        if self.count * dtype.itemsize > max(len(data), _REPEATED):
            raise ValueError(f"it has {self.count:,} numbers, and {len(data):,} bytes are there")
        array: np.ndarray = np.ndarray(
            self.shape, dtype, data, self.offset * dtype.itemsize,
            tuple(step * dtype.itemsize for step in self.stride),
        )  # fmt: skip
        return (array.astype("u4") << 16).view("f4") if code == "bf16" else array


class Record:
    """An object of a class of which attributes alone are read; ``name`` is that of the class."""

    name = ""
    __slots__ = ("state",)
    state: Mapping[Any, Any]

    def __new__(cls, *_: Any) -> Record:
        record = super().__new__(cls)
        record.state = {}
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


#: Classes that objects of other tools, and arguments of scripts, are of.
RECORDS: Mapping[str, type[Record]] = {
    name: type("Record", (Record,), {"name": name, "__slots__": ()})
    for name in (
        "argparse.Namespace", "types.SimpleNamespace",
        "steering_vectors.steering_vector.SteeringVector", "repeng.extract.ControlVector",
    )
}  # fmt: skip

#: Gives the storage that a torch file's pickle refers to; or what a torch file within a pickle has.
StorageFinder: TypeAlias = Callable[[Any], Storage]
StorageLoader: TypeAlias = Callable[[bytes], Any]


def unpickle(
    file: io.BytesIO, find_storage: StorageFinder | None = None,
    load_storage: StorageLoader | None = None,
) -> Any:  # fmt: skip
    """The pickle at a file's place, which is moved behind it.

    ``find_storage`` resolves what it refers to; ``load_storage`` reads torch files within it.
    Raises :class:`Refused`, and other exceptions for malformed programs.
    """
    start = file.tell()
    _check_opcodes(file)
    file.seek(start)
    return _Reader(file, find_storage, load_storage).load()


class _Dict(dict[Any, Any]):
    """A dict without attributes: a file could cover its methods by them."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _Array:
    """A numpy array as it is pickled: made empty, then filled."""

    __slots__ = ("value",)
    value: Numbers | None

    def __init__(self) -> None:
        self.value = None

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran, data = state
        self.value = _shaped(data, dtype, shape, "F" if fortran else "C")


class _Dtype:
    """A numpy dtype as it is pickled: a code, then its byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise Refused("it holds an array of an unknown byte order")
        self.order = ">" if state[1] == ">" else "<"


class _Call:
    """A function that a pickle may call and can do nothing else with."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise Refused("it would change a function")


def plain(value: Any) -> Any:
    """What a part of a pickle is, where it was filled after it was made."""
    return value.value if isinstance(value, _Array) else value


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind != _ARRAY or tuple(shape) != (0,):
        raise Refused("it would make an array in another way than numpy does")
    return _Array()


def _scalar(dtype: Any, data: Any) -> Any:
    """A number as Python's own; None for other values."""
    if not isinstance(dtype, _Dtype) or dtype.code not in _CODES:
        return None
    array = _shaped(data, dtype, (), "C").array()
    return None if array is None else array.item()


def _shaped(data: Any, dtype: Any, shape: Any, order: str) -> Numbers:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray):
        raise Refused("it holds an array of objects")
    code = dtype.code if dtype.code in _CODES else None
    sizes = _whole(shape)
    axes = sizes if order == "F" else sizes[::-1]
    steps = [math.prod(axes[:i]) for i in range(len(axes))]
    stride = tuple(steps if order == "F" else steps[::-1])
    count = len(data) // int(code[1]) if code else 0
    return Numbers(Storage(code, count, lambda: data, dtype.order), 0, sizes, stride)


def _encode(text: Any, encoding: Any) -> bytes:
    """Bytes as protocol 2 writes them."""
    if encoding != "latin1":
        raise Refused(f"it would encode text as {encoding}")
    return str(text).encode("latin1")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Numbers:
    if not isinstance(storage, Storage):
        raise Refused("it holds a tensor without numbers")
    (offset,) = _whole((offset,))
    return Numbers(storage, offset, _whole(size), _whole(stride))


def _whole(sizes: Any) -> tuple[int, ...]:
    """Sizes of axes; an axis that one cannot have is refused."""
    numbers = tuple(sizes)
    if len(numbers) > 16 or any(
        not isinstance(n, int) or isinstance(n, bool) or not 0 <= n < 1 << 48 for n in numbers
    ):
        raise Refused("it holds an array of impossible sizes")
    return numbers


def _with_attributes(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor that has attributes of its own, without them."""
    if not isinstance(function, _Call) or not isinstance(kind, str):
        raise Refused("it would make a tensor in another way than torch does")
    return function(*arguments)


def _new(kind: Any, base: Any, state: Any) -> Any:
    """An object as protocols 0 and 1 make it."""
    if not (isinstance(kind, type) and issubclass(kind, Record)):
        raise Refused("it would make an object of another class than those it may")
    return kind()


def _named(value: Any = None, *_: Any) -> str:
    return str(value) if isinstance(value, str | int) else ""


_TYPES = (
    "object", "int", "long", "float", "str", "unicode", "bool", "list", "dict", "tuple",
)  # fmt: skip
_ALLOWED: Mapping[str, Any] = {
    **RECORDS,
    **{
        f"{module}.{name}": function
        for module in ("builtins", "__builtin__")
        for name, function in (
            ("set", set), ("frozenset", frozenset), ("bytes", lambda: b""),
            ("bytearray", bytearray), ("complex", lambda *_: None), ("slice", lambda *_: None),
            ("range", lambda *_: None), ("xrange", lambda *_: None),
            *((name, f"builtins.{name}") for name in _TYPES),
        )
    },
    **{f"{module}._reconstructor": _new for module in ("copyreg", "copy_reg")},
    **{f"collections.{name}": _Dict for name in ("OrderedDict", "Counter")},
    "collections.defaultdict": lambda factory=None, *entries: _Dict(*entries),
    "_codecs.encode": _encode,
    **{
        f"{module}.{name}": lambda *parts: "/".join(map(_named, parts))
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PurePath", "PosixPath", "PurePosixPath", "WindowsPath",
                     "PureWindowsPath")
    },
    **{
        f"datetime.{name}": lambda *_: None
        for name in ("datetime", "date", "time", "timedelta", "timezone")
    },
    _ARRAY: _ARRAY,
    "numpy.dtype": lambda code, align, copy: _Dtype(code),
    **{
        f"numpy.{core}.{name}": function
        for core in ("core", "_core")
        for name, function in (
            ("multiarray._reconstruct", _reconstruct), ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", lambda data, dtype, shape, order: _shaped(
                data, dtype, shape, order)),
        )
    },
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "torch.Tensor": "torch.Tensor",
    "torch.nn.parameter.Parameter": "torch.nn.parameter.Parameter",
    "torch.Size": tuple,
    "torch.device": _named,
    **{
        f"torch.{name}": f"torch.{name}"
        for name in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16",
                     "int8", "uint8", "bool", "strided")
    },
}  # fmt: skip


class _Reader(pickle.Unpickler):
    def __init__(
        self, file: io.BytesIO, find_storage: StorageFinder | None,
        load_storage: StorageLoader | None,
    ) -> None:  # fmt: skip
        super().__init__(file)
        self._find_storage, self._load_storage = find_storage, load_storage
        self._room = LARGEST

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if module == "torch" and name.endswith("Storage"):
            return f"torch.{name}"
        if full == "torch.storage._load_from_bytes" and self._load_storage is not None:
            return _Call(self._charged(self._load_storage))
        if full not in _ALLOWED:
            raise Refused(f"it would use {full}")
        value = _ALLOWED[full]
        plain = isinstance(value, str) or full in RECORDS
        return value if plain else _Call(self._charged(value))

    def _charged(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that may copy what it is given, so often as there is room for it."""

        def call(*arguments: Any) -> Any:
            for argument in arguments:
                if isinstance(argument, Sized) and not isinstance(argument, _Dtype):
                    each = 1 if isinstance(argument, bytes | bytearray | str) else 64
                    self._room -= each * len(argument)
            if self._room < 0:
                raise Refused(f"it would take more than {LARGEST >> 20} MiB")
            return function(*arguments)

        return call

    def persistent_load(self, pid: Any) -> Storage:
        if self._find_storage is None:
            raise Refused("it refers to something outside itself")
        return self._find_storage(pid)


def _check_opcodes(file: io.BytesIO) -> None:
    """Refuse what would make the reader itself take memory or stack without end, or look
    elsewhere.  What a part is made of is followed as the reader would, but for its values."""
    most = len(file.getbuffer()) - file.tell()
    depths: list[int] = []  # of what is on the stack
    marks: list[int] = []
    memo: dict[Any, int] = {}
    for steps, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        name = opcode.name
        if name in ("INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER"):
            raise Refused(f"it uses the opcode {name}")
        if steps >= _STEPS:
            raise Refused(f"its program has more than {_STEPS:,} steps")
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            if (argument or 0) > most:
                raise Refused("it numbers its parts beyond its size")
            memo[argument] = depths[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = depths[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            depths.append(memo[argument])
        elif name == "DUP":
            depths.append(depths[-1])
        elif name == "MARK":
            marks.append(len(depths))
        elif name == "POP" and marks and marks[-1] == len(depths):
            marks.pop()
        else:
            before, after = opcode.stack_before, opcode.stack_after
            start = len(depths) - len(before)
            if pickletools.markobject in before:
                start = marks.pop() - before.index(pickletools.markobject)
            if start < 0:
                raise Refused("it takes what is not there")
            if name in _FILLS:  # again and again: it is as deep as its deepest part
                depth = max(depths[start], 1 + max(depths[start + 1 :], default=0))
            else:
                depth = 1 + max(depths[start:], default=0)
            if depth > _DEEPEST:
                raise Refused(f"it has parts within parts, more than {_DEEPEST} deep")
            depths[start:] = [depth] * len(after)

"""A worker's own process on this machine: ``python -m mfv_dsl.launch.process``, its order on stdin.

It ends when the process that started it is gone, however that ended: stdin is a pipe from there,
which the system closes then.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
import threading
from contextlib import suppress
from typing import BinaryIO

from mfv_dsl.launch.orders import WorkerOrder

_LENGTH = struct.Struct(">Q")


def sent(order: WorkerOrder) -> bytes:
    """An order as :func:`main` reads it."""
    data = pickle.dumps(order)
    return _LENGTH.pack(len(data)) + data


def _end_with(pipe: BinaryIO) -> None:
    """Wait for the end of ``pipe``, and end this process at once: nothing is lost by it."""
    with suppress(OSError):
        while pipe.read(1):
            pass
    os._exit(1)


def main() -> None:
    """Read an order and do it."""
    with suppress(AttributeError, ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who started it
    pipe = sys.stdin.buffer
    (length,) = _LENGTH.unpack(pipe.read(_LENGTH.size))
    order: WorkerOrder = pickle.loads(pipe.read(length))
    threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
    from mfv_dsl.launch.worker import work

    work(order)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # libraries may hang or crash as they are torn down


if __name__ == "__main__":
    main()

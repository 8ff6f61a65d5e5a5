"""What SQLite does with its files, seen below it: each write and each sync, on real files.

A VFS ("virtual file system", SQLite's own seam to the operating system) that hands every call on to the one that it
stands in front of. It is put in place by SQLite's C interface, since Python's module has none for that.
"""

from __future__ import annotations

import _sqlite3
import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p

_SYNC: int = 5  # places among the methods of a file, after the version
_WRITE: int = 3
_METHODS: int = 18
_SyncCall = CFUNCTYPE(c_int, c_void_p, c_int)
_WriteCall = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_OpenCall = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)


class _Methods(ctypes.Structure):
    _fields_ = [("version", c_int), ("calls", c_void_p * _METHODS)]


class _File(ctypes.Structure):
    _fields_ = [("methods", POINTER(_Methods))]


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", c_int),
        ("file_size", c_int),
        ("path_max", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("calls", c_void_p * 14),
    ]


class Unreachable(Exception):
    """This Python's SQLite does not show its C interface."""


@contextmanager
def traced(seen: Callable[[str, str], None]) -> Iterator[None]:
    """Within it, `seen(what, path)` is called after each "write" and "sync" of a file that SQLite has opened since.

    It is called in the thread that writes. Raises `Unreachable`.
    """
    try:
        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_vfs_find.restype = POINTER(_Vfs)
    except (AttributeError, OSError) as error:
        raise Unreachable(str(error)) from error
    real = library.sqlite3_vfs_find(None)
    if not real:
        raise Unreachable("it has no VFS")
    kept: list[object] = []  # what SQLite calls must not be collected
    open_really = _OpenCall(real.contents.open)

    def opened(vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        code: int = open_really(vfs, name, file, flags, out)
        found = ctypes.cast(file, POINTER(_File)).contents
        if code == 0 and name and found.methods:
            path = ctypes.string_at(name).decode()
            found.methods = ctypes.pointer(_told(found.methods.contents, path, seen, kept))
        return code

    ours = _Vfs()
    ctypes.memmove(ctypes.byref(ours), real, ctypes.sizeof(_Vfs))
    ours.name, ours.next = b"traced", None
    call = _OpenCall(opened)
    ours.open = ctypes.cast(call, c_void_p).value
    kept.append(call)
    library.sqlite3_vfs_register(ctypes.byref(ours), 1)
    try:
        yield
    finally:
        library.sqlite3_vfs_unregister(ctypes.byref(ours))
        library.sqlite3_vfs_register(real, 1)


def _told(real: _Methods, path: str, seen: Callable[[str, str], None], kept: list[object]) -> _Methods:
    """The methods of a file, two of which tell."""
    sync_really, write_really = _SyncCall(real.calls[_SYNC - 1]), _WriteCall(real.calls[_WRITE - 1])

    def sync(file: int, flags: int) -> int:
        code: int = sync_really(file, flags)
        if code == 0:
            seen("sync", path)
        return code

    def write(file: int, data: int, size: int, place: int) -> int:
        code: int = write_really(file, data, size, place)
        seen("write", path)
        return code

    told = _Methods()
    ctypes.memmove(ctypes.byref(told), ctypes.byref(real), ctypes.sizeof(_Methods))
    calls = (_SyncCall(sync), _WriteCall(write))
    told.calls[_SYNC - 1], told.calls[_WRITE - 1] = (ctypes.cast(call, c_void_p).value for call in calls)
    kept += [told, *calls]
    return told

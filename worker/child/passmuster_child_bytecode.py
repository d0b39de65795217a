"""Serves code that another process of the same run has compiled, where Python keeps no bytecode.

Where `PYTHONDONTWRITEBYTECODE` is set, or a `__pycache__` cannot be written, each process would compile every
module anew, and pytest would rewrite every test file and conftest anew. Here the code is kept in a private
folder of the run instead. A test sees no other `sys.dont_write_bytecode`, `sys.pycache_prefix` or
`__cached__`, and no file beside its sources; where Python can keep bytecode itself, nothing is done.

The key is what code is compiled from: the bytes of the source, its path, and everything that the compiler or
pytest's rewriting reads besides. So nothing can be out of date. What is read is checked, and compiled again
if it is damaged. A source for which the compiler or pytest issues a warning is never kept, because the
warning belongs to each process.

Only processes of the run's own tests write to the folder and execute what is in it.
"""

import _warnings
import marshal
import os
import sys
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader, cache_from_source
from _imp import source_hash
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType, TracebackType
    from typing import Any, Optional

_HASH_KEY = int.from_bytes(MAGIC_NUMBER, "little")
_HASH_BYTES = 8
_CODE = type(compile("", "", "exec"))
_FUNCTION: "Any" = type(lambda: None)
_WRITE_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)

_access, _close, _fspath, _getpid, _isdir = os.access, os.close, os.fspath, os.getpid, os.path.isdir
_open, _replace, _stat, _unlink, _write = os.open, os.replace, os.stat, os.unlink, os.write
_dirname, _environ, _join, _modules = os.path.dirname, os.environ, os.path.join, sys.modules
_dumps, _loads, _open_file, _W_OK = marshal.dumps, marshal.loads, open, os.W_OK

_folders: "list[str]" = []
"""The one that this process uses."""


def install(folder: str) -> None:
    """Let the loader of source files use a folder; empty: none. Forked processes inherit it."""
    if folder:
        _folders.append(folder)
        _wrap_loader(folder)


class Entry:
    """The code of one source in the folder of this run.

    Args:
        folder: of the run.
        path: of the source, as it stands in the code.
        source: its content.
        options: everything else that the code depends on.
    """

    def __init__(self, folder: str, path: str, source: bytes, options: str) -> None:
        no_columns = _environ.get("PYTHONNODEBUGRANGES", "")
        options = "%s %d %r %r" % (options, sys.flags.optimize, sys._xoptions, no_columns)
        self._head = b"%s%s\0%s\0%d\0" % (MAGIC_NUMBER, _encode(path), _encode(options), len(source))
        self._file = _join(folder, _hash(self._head).hex() + _hash(source).hex())

    def read(self) -> "Optional[CodeType]":
        """Return the code; None if there is none, or what is there is not what was written."""
        try:
            with _open_file(self._file, "rb") as stream:
                data = stream.read()
            start = _HASH_BYTES + len(self._head)
            if data[_HASH_BYTES:start] != self._head or _hash(data[_HASH_BYTES:]) != data[:_HASH_BYTES]:
                return None
            code = _loads(data[start:])
        except Exception:
            return None
        return code if type(code) is _CODE else None

    def keep(self, code: "CodeType") -> None:
        """Write the code as a whole or not at all; without room for it, other processes compile again."""
        arriving = "%s.%d" % (self._file, _getpid())
        try:
            body = self._head + _dumps(code)
            data = _hash(body) + body
            descriptor = _open(arriving, _WRITE_NEW, 0o600)
            try:
                is_whole = _write(descriptor, data) == len(data)
            finally:
                _close(descriptor)
            if is_whole:
                _replace(arriving, self._file)
            else:
                _unlink(arriving)
        except Exception:
            return


class WarningsWatch:
    """Notices whether this thread issues a warning, and changes nothing about it.

    It stands at the head of the filters as one that matches nothing: a filter's pattern is asked for each
    warning that is issued, also for one that other filters hide.
    """

    def __init__(self) -> None:
        self.has_seen = False
        self._filters: "Any" = None
        self._thread = get_ident()
        self._filter = ("ignore", self, Warning, None, 0)

    def __enter__(self) -> "WarningsWatch":
        self._filters = getattr(_modules.get("warnings", _warnings), "filters", None)
        # With filters of each context, other ones may come first.
        if isinstance(self._filters, list) and not getattr(sys.flags, "context_aware_warnings", 0):
            self._filters.insert(0, self._filter)
        else:
            self.has_seen, self._filters = True, []
        return self

    def match(self, _text: str) -> None:
        """Be asked whether the filter is about a warning."""
        if get_ident() == self._thread:
            self.has_seen = True

    def __exit__(
        self,
        kind: "Optional[type[BaseException]]",
        error: "Optional[BaseException]",
        traceback: "Optional[TracebackType]",
    ) -> None:
        for index, entry in enumerate(self._filters):
            if entry is self._filter:
                del self._filters[index]
                break


def keep_rewritten(module: "ModuleType") -> None:
    """Have pytest's rewriting of assertions use the folder, too.

    Args:
        module: `_pytest.assertion.rewrite`.
    """
    original: "Any" = getattr(module, "_rewrite_test", None)
    code, tag = getattr(original, "__code__", None), getattr(module, "PYTEST_TAG", "")
    if not _folders or not tag or original.__module__ == __name__:
        return
    if code is None or code.co_varnames[: code.co_argcount] != ("fn", "config"):
        return  # This version of pytest is not known.
    folder, returns_hash = _folders[0], "source_hash" in code.co_varnames

    def _rewrite_test(fn: "Any", config: "Any") -> "tuple[Any, CodeType]":
        __tracebackhide__ = True
        path = _fspath(fn)
        if not _is_wanted(path):
            return original(fn, config)  # type: ignore[no-any-return]
        state: "Any" = _stat(path)
        with _open_file(path, "rb") as file:
            source = file.read()
        if returns_hash:
            state = _hash(source)
        options = "%s %r" % (tag, config.getini("enable_assertion_pass_hook"))
        entry = Entry(folder, path, source, options)
        code = entry.read()
        if code is None:
            with WarningsWatch() as watch:
                rewritten, code = original(fn, config)
            if not watch.has_seen and _is_same(rewritten, state):
                entry.keep(code)
        return state, code

    module._rewrite_test = _rewrite_test  # type: ignore[attr-defined]


def _wrap_loader(folder: str) -> None:
    original: "Any" = SourceFileLoader.source_to_code
    # Local, because the function below gets the globals of the import system.
    is_wanted, make_entry, watch_warnings, get_tracer = _is_wanted, Entry, WarningsWatch, sys.gettrace

    def source_to_code(self: "Any", data: "Any", path: "Any", *others: "Any", **options: "Any") -> "CodeType":
        # A debugger that steps over the import system must not find itself in this module.
        is_traced = get_tracer() is not None
        if is_traced or type(data) is not bytes or type(path) is not str or not is_wanted(path):
            return original(self, data, path, *others, **options)  # type: ignore[no-any-return]
        entry = make_entry(folder, path, data, "%r %r" % (others, options))
        code = entry.read()
        if code is None:
            with watch_warnings() as watch:
                code = original(self, data, path, *others, **options)
            if not watch.has_seen:
                entry.keep(code)
        return code

    # The interpreter leaves its import system out of tracebacks by the file, a debugger by the name in the
    # globals: neither shows this frame.
    replaced = _FUNCTION(
        source_to_code.__code__.replace(co_filename="<frozen importlib._bootstrap_external>"),
        original.__globals__,
        original.__name__,
        None,
        source_to_code.__closure__,
    )
    replaced.__doc__, replaced.__qualname__ = original.__doc__, original.__qualname__
    SourceFileLoader.source_to_code = replaced  # type: ignore[method-assign]


def _is_wanted(path: str) -> bool:
    """Return whether Python keeps no bytecode of a source, and another process may need it.

    What lies in a test's own temporary directory no other test reads.
    """
    try:
        temporary = _environ.get("TMPDIR")
        if temporary and path.startswith(_join(temporary, "")):
            return False
        if sys.dont_write_bytecode:
            return True
        folder = _dirname(cache_from_source(path))
        if sys.pycache_prefix is not None:
            return False
        return not _access(folder if _isdir(folder) else _dirname(folder), _W_OK)
    except Exception:  # This Python has no bytecode, or a test has replaced something.
        return False


def _is_same(one: "Any", other: "Any") -> bool:
    """Return whether a source is the same by its hash, or by what `os.stat` says of it."""
    if isinstance(one, bytes):
        return bool(one == other)
    return bool(one.st_mtime_ns == other.st_mtime_ns and one.st_size == other.st_size)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _hash(data: bytes) -> bytes:
    return source_hash(_HASH_KEY, data)

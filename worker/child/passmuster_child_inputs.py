"""Records what a test process reads: code, data files, listed folders, and modules that it looks for.

An audit hook (PEP 578) sees each of these, also in modules that a fork server has imported: a forked process
inherits its server's record. The record is sent when the process ends, so a process that ends without that
(`os._exit`) has none. What a hook cannot see makes the record `unsure`: a program that the test starts, a
process that it forks. Files that compiled code opens by itself, tests for the existence of a file, and
environment variables are not seen.

The hook runs for every audited operation of the test. It therefore only collects paths; everything else
happens once, at the end. A server does that before it is forked, for all that it has read (`settle`): it has
imported most of what its files need, and only to look at each module would copy its memory for each file.
"""

import os
import sys
from os import fsdecode, getcwd, getpid, readlink, stat
from os.path import abspath, exists, normpath, realpath
from stat import S_ISDIR
from sys import _getframe

from passmuster_child_report import input_records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Iterable

    from passmuster_child_report import ReportWriter

_HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
_WRITES = os.O_WRONLY | os.O_RDWR
_REPLACES = os.O_TRUNC | os.O_EXCL
_SYSTEM = ("/proc/", "/dev/", "/sys/", "/nonexistent/passmuster/")
"""Places of the system, and the one that a prepared pytest session has for its cache."""

_CACHES = ("/__pycache__/", "/.pytest_cache/", "/.hypothesis/", "/.passmuster/")
"""Parts of paths below which programs keep what they can make again."""

_SKIPPED_CALLERS = ("<frozen importlib", "<frozen zipimport", _HERE)
"""Who lists folders without depending on all their names: imports are recorded by the names looked for."""

_ON_BEHALF = ("<frozen os>", "/os.py", "/glob.py", "/fnmatch.py", "/pathlib.py", "/pathlib/")
"""The standard library's code that lists a folder for its caller."""

ALL, CONFTESTS, INSTALLED = "*", "test*/conftest.py", "*-info"
"""What depends on a listing: all names; where pytest looks for conftests; what is installed there."""

_SPAWNING = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver", ".popen_loky_posix")
"""How the names of modules end that start processes without an audit event; joblib has a loky of its own."""

_ABOUT_THE_MACHINE = ("uname", "file", "lscpu", "ldconfig", "hostname")
"""What the standard library starts to describe the machine."""

_DESCRIBERS = tuple(
    os.path.join(os.path.dirname(os.__file__), *name.split("/"))
    for name in ("platform.py", "uuid.py", "ctypes/util.py")
)
"""The standard library's code that does."""

_STARTERS = ("/subprocess.py", "/os.py", "<frozen os>")
"""The standard library's code that starts a program for its caller."""

_OF_VERSION_CONTROL = ("git", "hg")
"""Installed packages ask these for the name or version of the project, as pytest-benchmark does."""

_REMOVER, _WALKERS = "/shutil.py", ("/os.py", "<frozen os>")
"""The standard library's code that opens folders to remove what is below them, or to walk them."""

STARTS_PROGRAM = "it starts a program, whose reads are not seen"
FORKS = "it forks a process, whose reads are not seen"
OPENS_BELOW = "it opens files below a descriptor, whose folder is not seen"
LINKS_FOLDER = "it links or moves a folder, whose files are then read at another place"

_LIMIT = 20_000
"""Paths and names that are recorded at most: a file that reads more is not worth comparing."""


class InputRecorder:
    """What this process has read so far.

    Args:
        root: the project's root, absolute.
        code_folder: where compiled code is kept; empty: nowhere.
    """

    def __init__(self, root: str, code_folder: str) -> None:
        self._roots = tuple(dict.fromkeys(os.path.join(one, "") for one in (root, realpath(root))))
        self._caches = tuple(part for part in _CACHES if not any(part in one for one in self._roots))
        places = [sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.__file__)]
        # A folder of that name in the project is its own code, unless it belongs to an environment.
        places += [
            entry
            for entry in sys.path
            if os.path.basename(entry) in ("site-packages", "dist-packages")
            and (not entry.startswith(self._roots) or _is_of_environment(entry))
        ]
        installed = {os.path.join(one, "") for place in places for one in (place, realpath(place))}
        # An environment inside the project is no part of it; a project below /usr is no part of Python.
        self._installed_within = tuple(one for one in installed if one.startswith(self._roots))
        compiled = [os.path.join(one, "") for one in (code_folder, sys.pycache_prefix) if one]
        self._elsewhere: "tuple[str, ...]" = (*installed, _HERE, *compiled, *_SYSTEM)
        self._read: "set[str]" = set()
        self._absent: "set[str]" = set()
        self._written: "set[str]" = set()
        self._settled_read: "set[str]" = set()
        self._settled_names: "set[str]" = set()
        self._records: "list[str]" = []
        """What is settled, as it is sent, and `_count`: how many values that has."""
        self._count = 0
        self._last_module = ""
        """The newest module then; empty: nothing is settled."""
        self._listed: "set[tuple[str, str]]" = set()
        self._names = {"sitecustomize", "usercustomize"}
        """Modules that were looked for; Python has done so for these before it was asked."""
        self._search_path: "list[str]" = []
        self._folders: "set[str]" = set()
        self._holds_folder = False
        """Whether it opened a folder: what it opens by a relative path may be below that."""
        self._unsure = ""
        self._has_network = False
        self._pid = 0

    def install(self) -> None:
        """Record from now on, in this process and in those that are forked from it."""
        handlers: "dict[str, Callable[[tuple[Any, ...]], None]]" = {
            "open": self._on_open,
            "exec": self._on_exec,
            "import": self._on_import,
            "os.listdir": self._on_list,
            "os.scandir": self._on_list,
            "glob.glob": lambda args: self._on_glob("", args[0]),
            "glob.glob/2": lambda args: self._on_glob(args[2] or "", args[0]),
            "pathlib.Path.glob": lambda args: self._on_glob(args[0], args[1]),
            "os.rename": lambda args: self._on_link(args[0], args[1]),
            "os.link": lambda args: self._on_link(args[0], args[1]),
            "os.symlink": lambda args: self._on_link(_join(os.path.dirname(args[1]), args[0]), args[1]),
            "sqlite3.connect": lambda args: self._note(_database(args[0])),
            "ctypes.dlopen": lambda args: self._note(args[0]),
            "os.fork": self._on_fork,
            "os.forkpty": self._on_fork,
        }
        for event in ("subprocess.Popen", "os.posix_spawn", "os.system", "os.spawn", "pty.spawn"):
            handlers[event] = self._on_program
        for event in ("connect", "sendto", "sendmsg"):
            handlers["socket." + event] = self._on_connect
        for event in ("getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo"):
            handlers["socket." + event] = self._on_network
        get = handlers.get

        def hook(event: str, args: "tuple[Any, ...]") -> None:
            handler = get(event)
            if handler is not None:
                try:
                    handler(args)
                except (AttributeError, LookupError, TypeError, ValueError):
                    return  # An event of the test's own making, with other arguments.

        sys.addaudithook(hook)

    def start_file(self) -> None:
        """Note that this process is the one of a file: it reports, and its TMPDIR is its own."""
        self._pid = getpid()
        temporary = os.environ.get("TMPDIR", "")
        if temporary:
            places = {os.path.join(one, "") for one in (temporary, realpath(temporary))}
            self._elsewhere = (*self._elsewhere, *places)

    def _on_open(self, args: "tuple[Any, ...]") -> None:
        path, mode, flags = args
        if type(path) is str and path.startswith(self._elsewhere) and not path.startswith(self._roots):
            if "/../" not in path:
                return
        if type(flags) is int and flags & _WRITES:
            if flags & _REPLACES:
                self._write(path, keeps=not flags & os.O_TRUNC)
                return
            if not flags & os.O_RDWR:
                return
        elif mode is None:
            caller = _getframe(2).f_code.co_filename
            if caller.endswith(_REMOVER):
                return
            if caller.endswith(_WALKERS):  # `os.fwalk` gives the descriptor to its caller.
                self._holds_folder = True
                return
            # It may lie below any folder of which there is a descriptor, whatever the working directory has.
            if fsdecode(path)[:1] != "/" and (self._holds_folder or not exists(path)):
                self._unsure = self._unsure or OPENS_BELOW
        self._note(path)

    def _note(self, path: "Any") -> None:
        where = self._place(path)
        if not where or self._is_read(where) or where in self._written or where in self._absent:
            return
        try:
            is_folder = S_ISDIR(stat(where).st_mode)
        except (OSError, ValueError):
            self._absent.add(where)
        else:
            if is_folder:
                self._holds_folder = True
            else:
                self._read.add(where)

    def _write(self, path: "Any", *, keeps: bool = False) -> None:
        """Note that a file gets new content, unless it exists and the operation keeps it."""
        where = self._place(path)
        if where and not self._is_read(where):
            if keeps and os.path.lexists(where) and where not in self._written:
                self._note(path)
            else:
                self._written.add(where)

    def _is_read(self, where: str) -> bool:
        return where in self._read or where in self._settled_read

    def _place(self, path: "Any") -> str:
        """Return the absolute path of something that may be an input, else an empty string."""
        if type(path) is not str:
            if isinstance(path, int) or path is None:
                return ""
            try:
                path = fsdecode(path)
            except Exception:  # Nothing that can be opened, or a path with code of its own.
                return ""
        if not path.startswith("/"):
            if not path or path == ":memory:":
                return ""
            try:
                path = getcwd() + "/" + path
            except OSError:
                return ""
        if "/../" in path:
            path = _without_parents(path)
        if path.startswith(self._roots):
            if path.startswith(self._installed_within):
                return ""
        elif path.startswith(self._elsewhere) or "/site-packages" in path:
            return ""
        return "" if any(cache in path for cache in self._caches) else str(path)

    def _on_exec(self, args: "tuple[Any, ...]") -> None:
        self._note_code(getattr(args[0], "co_filename", ""))

    def _note_code(self, path: "Any") -> None:
        if type(path) is str and path.startswith("/") and not self._is_read(path):
            where = self._place(path)
            # Code of elsewhere may have made up its name; that of the project may be gone already.
            if where and (where.startswith(self._roots) or os.path.exists(where)):
                self._read.add(where)

    def _on_import(self, args: "tuple[Any, ...]") -> None:
        name, file, path = args[0], args[1], args[2]
        self._names.add(name)
        if path != self._search_path and type(path) is list:
            self._search_path = list(path)
            self._add_folders(path)
        if file is not None:
            self._note(file)

    def _on_list(self, args: "tuple[Any, ...]") -> None:
        folder = args[0]
        pattern = _pattern_of(_getframe(2))
        if pattern is None:
            return
        if isinstance(folder, int):
            try:
                folder = readlink("/proc/self/fd/%d" % folder)
            except OSError:
                return
        where = self._place("." if folder is None else folder)
        if where:
            self._listed.add((where, pattern))

    def _on_glob(self, folder: "Any", pattern: "Any") -> None:
        """Note which names below the folders that a pattern lists are looked for by themselves."""
        parts = [part for part in _join(getcwd(), _join(folder, pattern)).split("/") if part]
        first = next((at for at, part in enumerate(parts) if _is_magic(part)), len(parts))
        below = parts[first:]
        if "**" in below:  # It lists all folders from there.
            below = below[: below.index("**")]
        if not all(map(_is_magic, below)):
            where = self._place("/" + "/".join(parts[:first]))
            if where:
                self._listed.add((where, "/".join(below)))

    def _on_link(self, source: "Any", target: "Any") -> None:
        """Note a file that is read by another name from now on."""
        where = self._place(source)
        if where and where not in self._written:
            if os.path.isdir(where):
                self._unsure = self._unsure or LINKS_FOLDER
            else:
                self._note(where)
        self._write(target)

    def _on_fork(self, args: "tuple[Any, ...]") -> None:
        if not _getframe(2).f_code.co_filename.startswith(_HERE):
            self._unsure = self._unsure or FORKS

    def _on_program(self, args: "tuple[Any, ...]") -> None:
        if not self._unsure and not self._reads_nothing(args[0], _getframe(2)):
            self._unsure = STARTS_PROGRAM

    def _reads_nothing(self, program: "Any", frame: "FrameType | None") -> bool:
        """Whether a program reads nothing of the project that the file's result depends on."""
        name = program.rpartition("/")[2] if type(program) is str else ""
        while frame is not None and frame.f_code.co_filename.endswith(_STARTERS):
            frame = frame.f_back
        if name in _ABOUT_THE_MACHINE:
            return frame is not None and frame.f_code.co_filename in _DESCRIBERS
        if name not in _OF_VERSION_CONTROL:
            return False
        while frame is not None:
            file = frame.f_code.co_filename
            if file.startswith("/") and self._place(file):  # The project asks, by means of a package.
                return False
            frame = frame.f_back
        return True

    def _on_connect(self, args: "tuple[Any, ...]") -> None:
        address = args[1]
        # A Unix socket has a path: one in the temporary directory is the file's own.
        if address is not None and (not isinstance(address, (str, bytes)) or self._place(address)):
            self._has_network = True

    def _on_network(self, args: "tuple[Any, ...]") -> None:
        self._has_network = True

    def settle(self) -> None:
        """Prepare the records of what this process has read, for all that will be forked from it."""
        self._add_modules()
        # Where a submodule is looked for depends on the search path until its package is loaded.
        names = {name for name in self._names if "." not in name or name.rpartition(".")[0] in sys.modules}
        settled = self._values_of(self._read, names, self._search_roots())
        for kind, values in settled.items():
            self._records += input_records(kind, sorted(values))
            self._count += len(values)
        self._settled_read |= self._read
        self._settled_names |= names
        self._read, self._names = set(), self._names - names
        self._last_module = next(reversed(sys.modules))

    def held(self) -> "tuple[set[str], set[str]]":
        """Return the files that this process has read or looked for, and the folders that it has listed."""
        read = (self._settled_read | self._read | self._absent) - self._written
        return read, {folder for folder, pattern in self._listed if pattern == ALL}

    def report(self, reporter: "ReportWriter") -> None:
        """Send the record; nothing if this is a process that the file has forked."""
        if getpid() != self._pid:
            return
        try:
            self._send(reporter)
        except Exception:  # A thread still reads, or a test has replaced what this needs: there is no record.
            return

    def _send(self, reporter: "ReportWriter") -> None:
        self._add_modules()
        roots = self._search_roots()
        names = {name for name in self._names if name not in self._settled_names}
        values: "dict[str, set[str]]" = {
            **self._values_of(self._read, names, roots),
            "absent": self._shown(self._absent - self._written),
            "listed": {"%s\0%s" % (self._relative(folder), pattern) for folder, pattern in self._listed},
            "path": roots,
        }
        records = list(self._records)
        for kind, found in values.items():
            records += input_records(kind, sorted(found))
        if self._count + sum(map(len, values.values())) > _LIMIT:
            records, self._unsure = [], "it reads more than %d files" % _LIMIT
        reporter.inputs(records, self._unsure, has_network=self._has_network)

    def _values_of(
        self, read: "set[str]", names: "set[str]", roots: "Iterable[str]"
    ) -> "dict[str, set[str]]":
        """Return the values of the kinds to which a process only adds."""
        folders = [os.path.join(self._roots[-1], folder) for folder in roots]
        return {
            "read": self._shown(read - self._written),
            "names": {name for name in names if "." not in name and name.isidentifier()},
            "modules": self._submodules([name for name in names if "." in name], folders),
        }

    def _search_roots(self) -> "set[str]":
        """Return the folders of the search path that may change, those in the root relative to it."""
        return {folder for folder in map(self._within, self._folders) if folder is not None}

    def _add_modules(self) -> None:
        """Add the modules that are loaded: some were imported without an event that names their file."""
        new = []
        for name in reversed(sys.modules):
            if name == self._last_module:
                break
            new.append(name)
        for name in new:
            module = sys.modules.get(name)
            if type(name) is not str or not issubclass(type(module), type(sys)):
                continue
            if name.endswith(_SPAWNING):
                self._unsure = self._unsure or STARTS_PROGRAM
            self._names.add(name)
            self._note_code(vars(module).get("__file__"))
        self._add_folders(sys.path)

    def _add_folders(self, search_path: "Iterable[Any]") -> None:
        """Add folders of a search path, relative ones as they are found now."""
        self._folders.update(abspath(entry) for entry in search_path if type(entry) is str)

    def _submodules(self, names: "Iterable[str]", roots: "list[str]") -> "set[str]":
        """Return where modules below the project's packages were looked for, without their suffixes."""
        found: "set[str]" = set()
        for name in names:
            parent, _, last = name.rpartition(".")
            module = sys.modules.get(parent)
            if issubclass(type(module), type(sys)):
                folders = vars(module).get("__path__", ())
            else:
                folders = [os.path.join(root, *parent.split(".")) for root in roots]
            try:
                places = [self._within(str(folder)) for folder in folders]
            except Exception:  # A path of the test's own making.
                continue
            found.update(os.path.join(place, last) for place in places if place is not None)
        return {place for place in found if "\0" not in place}

    def _within(self, folder: str) -> "str | None":
        """Return a folder of modules, in the root relative to it; None: it belongs to an environment."""
        try:
            where = os.path.join(abspath(folder), "")
        except (OSError, ValueError):
            return None
        return self._relative(where) if self._place(where) else None

    def _shown(self, paths: "Iterable[str]") -> "set[str]":
        return {self._relative(path) for path in paths if "\0" not in path}

    def _relative(self, path: str) -> str:
        """Return a path relative to the root, or as it is where it lies elsewhere; the root itself is `.`."""
        path = normpath(path)
        for root in self._roots:
            if path.startswith(root):
                return path[len(root) :]
            if path == root[:-1]:
                return "."
        return path


def _is_of_environment(packages: str) -> bool:
    """Return whether a folder is the `lib/python3.x/site-packages` of a virtual environment."""
    return os.path.exists(os.path.join(packages, "..", "..", "..", "pyvenv.cfg"))


def _without_parents(path: str) -> str:
    """Return a path in which no `..` follows a link: that leads to the folder above the link's target."""
    folder, _, rest = path.rpartition("/../")
    return os.path.join(realpath(folder + "/.."), rest)


def _join(folder: "Any", path: "Any") -> str:
    return os.path.join(fsdecode(folder), fsdecode(path))


def _is_magic(part: str) -> bool:
    return any(letter in part for letter in "*?[")


def _database(path: "Any") -> str:
    """Return the file of an SQLite database, which may be named by a URI."""
    name = fsdecode(path)  # Python 3.9 gives it as bytes.
    if not name.startswith("file:"):
        return name
    name = name[len("file:") :].partition("#")[0].partition("?")[0]
    if name.startswith("//"):
        name = "/" + name[2:].partition("/")[2]
    if "%" in name:
        from urllib.parse import unquote

        return unquote(name)
    return name


def _pattern_of(frame: "FrameType | None") -> "str | None":
    """Return which names of a folder the code depends on that lists it; None: on none."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_SKIPPED_CALLERS):
            return None
        if "/importlib/metadata/" in file or "/importlib_metadata/" in file:
            return INSTALLED
        if "/_pytest/config/" in file:
            return CONFTESTS
        if "/_pytest/" in file or "/pluggy/" in file:
            return None  # It collects the one file, or looks after its own folders.
        if not file.endswith(_ON_BEHALF[:4]) and not any(part in file for part in _ON_BEHALF[4:]):
            return ALL
        frame = frame.f_back
    return ALL


_recorders: "list[InputRecorder]" = []
"""The one of this process and of its servers."""


def install(root: str, code_folder: str) -> None:
    """Record what this process reads; without a root, or where there are no audit hooks, nothing."""
    if root and hasattr(sys, "addaudithook") and not _recorders:
        recorder = InputRecorder(root, code_folder)
        _recorders.append(recorder)
        recorder.install()


def settle() -> None:
    """Prepare what the processes that will be forked from this one have in common."""
    for recorder in _recorders:
        recorder.settle()


def held() -> "tuple[set[str], set[str]]":
    """Return the files that this process has read, and the folders that it has listed."""
    for recorder in _recorders:
        return recorder.held()
    return set(), set()


def start_file() -> "InputRecorder | None":
    """Return the recorder of this process, which is that of a file from now on; None: nothing is recorded."""
    for recorder in _recorders:
        recorder.start_file()
        return recorder
    return None

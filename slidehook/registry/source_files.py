"""The files of an app's code: its module, and the app's own modules that it imports, directly or not."""

from __future__ import annotations

import ast
import hashlib
import importlib
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

SHARED = "slidehook.measuring"
"""The part of slidehook that counts as an app's own code where an app imports it."""
PRODUCT = frozenset({"slidehook", "worker", "webserver", "simulator", "demo"})
"""Packages that no app's code is in, but for `SHARED`."""
INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders whose packages are an app's own only when the app's distribution brings them."""

Signature = tuple[int, int, int]


def signature(path: str | Path) -> Signature | None:
    """Return a file's time in ns, size in bytes and inode: every write changes one of them. None on errors."""
    try:
        stat = os.stat(path)  # noqa: PTH116 - at each job and request, and three times as fast
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


@dataclass(frozen=True)
class Source:
    """One module's file: `seen` before it was read, and the digest of what was read."""

    path: Path
    seen: Signature | None
    digest: str


class Code:
    """The code of the app in `module`, as it was on disk when this was made.

    It consists of modules that belong to the app's distribution, whose top-level names are `own`, or that are not
    installed, such as a file beside the app's. They are found by parsing the sources: nothing is imported.
    """

    def __init__(self, module: str, own: Collection[str] = ()) -> None:
        self.module = module
        self._own = frozenset({module.partition(".")[0], *own})
        importlib.invalidate_caches()  # a file may be new
        self.sources = dict(self._find())
        folders = {each.path.parent for each in self.sources.values()}
        # A new file in one of the folders may be imported in place of another one.
        self._seen = {each.path: each.seen for each in self.sources.values()} | {
            folder: signature(folder) for folder in folders
        }
        said = "".join(f"{name} {each.digest}\n" for name, each in sorted(self.sources.items()))
        self.digest = hashlib.sha256(said.encode()).hexdigest()

    @property
    def paths(self) -> set[str]:
        """The files and folders that change when the code changes."""
        return {str(each) for each in self._seen}

    def changed(self) -> list[Path]:
        """Return the files that are changed, new or gone; usually costs one stat for each."""
        if all(signature(path) == seen for path, seen in self._seen.items()):
            return []
        now = Code(self.module, self._own)
        if now.digest == self.digest:
            self._seen = now._seen
            return []
        names = self.sources.keys() | now.sources.keys()
        differ = [name for name in sorted(names) if _digest(self, name) != _digest(now, name)]
        return [(now.sources.get(name) or self.sources[name]).path for name in differ]

    def _find(self) -> Iterator[tuple[str, Source]]:
        ahead = [*_with_parents(self.module)]
        known = set(ahead)
        tops: dict[str, bool] = {}
        for name in ahead:
            spec = self._spec(name, tops)
            if spec is None or spec.origin is None or not spec.has_location:
                continue
            path = Path(spec.origin)
            seen = signature(path)
            try:
                content = path.read_bytes()
            except OSError:
                continue
            yield name, Source(path, seen, hashlib.sha256(content).hexdigest())
            if path.suffix == ".py":
                package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
                new = [each for each in _imported(content, package) if each not in known]
                known.update(new)
                ahead += new

    def _spec(self, name: str, tops: dict[str, bool]) -> ModuleSpec | None:
        """Find a module if it is one of the app's own; None for any other."""
        top = name.partition(".")[0]
        if top in PRODUCT:
            return _spec(name) if f"{name}.".startswith(f"{SHARED}.") else None
        if top not in tops:
            tops[top] = top in self._own or (top not in sys.stdlib_module_names and _is_loose(_spec(top)))
        return _spec(name) if tops[top] else None


def _digest(code: Code, name: str) -> str | None:
    source = code.sources.get(name)
    return None if source is None else source.digest


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _imported(content: bytes, package: str) -> list[str]:
    """Return all modules that a source may import, anywhere in it; nothing if the source is not valid Python."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found += _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            found += _with_parents(base) if base else []
            found += [f"{base}.{alias.name}" if base else alias.name for alias in node.names if alias.name != "*"]
    return list(dict.fromkeys(found))


def _base(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def _is_loose(spec: ModuleSpec | None) -> bool:
    """Whether a top-level module is not installed, but only found on Python's path."""
    if spec is None:
        return False
    places = [spec.origin] if spec.has_location and spec.origin else list(spec.submodule_search_locations or ())
    return bool(places) and not any(INSTALLED & set(Path(place).parts) for place in places)


def _spec(name: str) -> ModuleSpec | None:
    """Find a module without importing it or its parents."""
    where: Sequence[str] | None = None
    found: ModuleSpec | None = None
    for each in _with_parents(name):
        found = _first_spec(each, where)
        if found is None:
            return None
        where = found.submodule_search_locations
        if where is None and each != name:
            return None
    return found


def _first_spec(name: str, where: Sequence[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        if not isinstance(finder, FromSource) and (spec := finder.find_spec(name, where, None)) is not None:
            return spec
    return None


class FromSource:
    """Compiles apps' own modules from their current sources; for `sys.meta_path`.

    Python uses a compiled file if its recorded second and size match the source's, so an edit may have no effect.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(self, name: str, path: Sequence[str] | None, _: ModuleType | None = None) -> ModuleSpec | None:
        """Find one of `names` where Python would; None for any other module, which the next finder then finds."""
        spec = _first_spec(name, path) if name in self.names else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = SourceLoader(spec.loader.name, spec.loader.path)
        return spec


class SourceLoader(SourceFileLoader):
    """Compiles a module's current source; reads and writes no compiled file."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source; raises SyntaxError and OSError."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def compile_from_source(names: Collection[str]) -> None:
    """From now on, compile these modules from their sources whenever this process imports them."""
    finder = next((each for each in sys.meta_path if isinstance(each, FromSource)), None)
    if finder is None:
        finder = FromSource()
        sys.meta_path.insert(0, finder)
    finder.names.update(names)

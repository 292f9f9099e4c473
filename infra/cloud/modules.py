"""Which of Glidepost's files the aggregator needs: those that its handler imports, and the data beside them.

Found by reading the imports, not by a list that somebody would have to keep.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Optional

OURS: Final = "glidepost"
HANDLER: Final = "glidepost.infra.aggregator.handler"
# Data that only people read, and what Python itself makes.
_LEFT_OUT: Final = (".py", ".pyc", ".md", ".example.json", ".example.toml", ".typed")


@dataclass(frozen=True)
class Needed:
    """What a module needs to run: our files by their name in an archive, and the names that others import by."""

    files: dict[str, Path]
    foreign: frozenset[str]


def needed_by(module: str = HANDLER) -> Needed:
    """Returns what a module of ours needs, itself included.

    Raises:
        ModuleNotFoundError: It imports one of ours that is not there.
    """
    files: dict[str, Path] = {}
    foreign: set[str] = set()
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name.partition(".")[0] != OURS:
            foreign.add(name.partition(".")[0])
            continue
        place = _place(name)
        if place is None:  # the root, which is no file
            continue
        files[_in_archive(name, place)] = place
        waiting += [name.rpartition(".")[0], *_imports(place, _package(name, place))]
    # (of a package that is only on the way to another one, nothing but its __init__.py)
    for package in {path.parent for path in files.values() if path.name != "__init__.py"}:
        files.update(_data(package, files))
    return Needed(files, frozenset(foreign))


def _place(name: str) -> Optional[Path]:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(name, name=name)
    return Path(spec.origin) if spec.origin else None


def _package(name: str, place: Path) -> str:
    return name if place.name == "__init__.py" else name.rpartition(".")[0]


def _in_archive(name: str, place: Path) -> str:
    path = name.replace(".", "/")
    return f"{path}/__init__.py" if place.name == "__init__.py" else f"{path}.py"


def _imports(place: Path, package: str) -> Iterator[str]:
    """Yields the modules that a file imports when it runs, not what type checkers alone read."""
    waiting: list[ast.AST] = [ast.parse(place.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from _imported_from(node, package)
        else:
            waiting += ast.iter_child_nodes(node)


def _imported_from(node: ast.ImportFrom, package: str) -> Iterator[str]:
    base = package.rsplit(".", node.level - 1)[0] if node.level else ""
    module = ".".join(part for part in (base, node.module) if part)
    yield module
    if module.partition(".")[0] == OURS:  # `from package import module`
        for alias in node.names:
            name = f"{module}.{alias.name}"
            if _is_module(name):
                yield name


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is a module, not a package
        return False


def _data(package: Path, files: dict[str, Path]) -> Iterator[tuple[str, Path]]:
    """Yields the data files of a package, subfolders that are no packages included."""
    prefix = next(name for name, path in files.items() if path == package / "__init__.py")[: -len("__init__.py")]
    for path in sorted(package.rglob("*")):
        inner = path.relative_to(package)
        folders = [package.joinpath(*inner.parts[:depth]) for depth in range(1, len(inner.parts))]
        is_ours = not any((folder / "__init__.py").exists() or folder.name.startswith("__") for folder in folders)
        if path.is_file() and is_ours and not path.name.endswith(_LEFT_OUT):
            yield prefix + inner.as_posix(), path

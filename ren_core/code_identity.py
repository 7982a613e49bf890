"""The identity of code: a digest of a module and of all that it imports of ours.

Stage directories are named after it (``ren_core.stages.open_stage``), so that no file is read that
other code wrote, and no version is raised by hand. Files are read and parsed; nothing is imported.

What counts as code is everything that the parser keeps: names, values, messages of errors, type
annotations (pydantic reads them), import statements. What does not: comments, docstrings and other
statements that are only a constant, ``pass``, layout, quotes, the order of neighbouring imports,
and what stands under ``if TYPE_CHECKING``. Imports count wherever they stand, and so does the
``__init__`` of every package on the way; only what a module's ``__getattr__`` imports counts where
a name of that module is imported. Not seen: modules imported by a computed name, data files, and
other people's packages.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, groupby
from pathlib import Path
from typing import NamedTuple

from ren_core.errors import DataError

PACKAGES = ("ren_core", "vq2d", "eval", "pipelines", "tools")
"""The packages that are ours; they lie side by side, in a checkout as in an installed wheel."""

LAYOUT_FIELDS = {"ctx", "kind", "type_comment", "type_ignores"}
"""What the parser keeps of no consequence (``ctx`` follows from the place)."""


def code_digest(module: str, length: int = 12, *, roots: Mapping[str, Path] | None = None) -> str:
    """Hexadecimal hash of the code of a module and of its transitive imports of ours.

    It is the same under Python 3.10 to 3.13, and costs little when asked again. The files are
    taken as they are now: code that was edited after this process imported it counts as edited.

    Args:
        module: Dotted name, usually ``__name__``; ``"__main__"`` is looked up by its file.
        length: Hexadecimal digits.
        roots: Directory of each top-level package that is ours; by default those of this project.

    Raises:
        DataError: If the module, or one of ours that it imports, is missing or cannot be parsed.
    """
    if roots is None:
        beside = Path(__file__).parents[1]
        roots = {name: beside / name for name in PACKAGES}
    name = _importable_name(module, roots)
    sources: dict[str, _Source] = {}
    seen: set[_Load] = set()
    todo = [_Load(name, asked=True)]
    while todo:
        load = todo.pop()
        if load not in seen:
            seen.add(load)
            source = sources[load.module] = _read_module(load.module, roots)
            todo += _loads(load, source, roots)
    lines = [name, *(f"{key} {sources[key].digest}" for key in sorted(sources))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:length]


def code_text(source: str | bytes) -> str:
    """What counts of a source text, a line per statement of the module.

    >>> print(code_text("x = f(1,  'a')  # why"))
    Assign(targets=[Name(id=x)], value=Call(func=Name(id=f), args=[Constant(1), Constant('a')]))
    """
    return "\n".join(_CodeReader().block(ast.parse(source).body))


class _Import(NamedTuple):
    """``import module`` (name None) or ``from ..module import name``."""

    level: int
    module: str
    name: str | None


class _Load(NamedTuple):
    """A module that Python loads; asked if its attributes may be looked up."""

    module: str
    asked: bool


@dataclass(frozen=True)
class _Source:
    digest: str
    is_package: bool
    imports: tuple[_Import, ...]
    imports_if_asked: tuple[_Import, ...]


class _CodeReader:
    """Writes syntax trees as text that no version of Python changes, and collects the imports."""

    def __init__(self) -> None:
        self.imports: list[_Import] = []

    def block(self, statements: Sequence[ast.stmt]) -> list[str]:
        """Each statement that computes something; runs of imports in alphabetical order."""
        texts: list[str] = []
        for are_imports, run in groupby(_effective(statements), key=_is_import):
            run_texts = [self.node(statement) for statement in run]
            texts += sorted(run_texts) if are_imports else run_texts
        return texts

    def node(self, node: ast.AST) -> str:
        """Class name and fields of a node, without those that are absent, empty or layout."""
        if isinstance(node, ast.Constant):  # ascii: which letters repr escapes depends on Python
            return f"Constant({node.value!a})"
        if isinstance(node, ast.JoinedStr):
            return self._joined(node)
        if isinstance(node, ast.Import):
            self.imports += [_Import(0, alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            self.imports += [_Import(node.level, module, alias.name) for alias in node.names]
        texts = {name: self._value(name, getattr(node, name, None)) for name in node._fields}
        fields = ", ".join(f"{name}={text}" for name, text in texts.items() if text)
        return f"{type(node).__name__}({fields})"

    def _value(self, name: str, value: object) -> str:
        """Text of a field, empty where the field says nothing."""
        if value is None or value == [] or name in LAYOUT_FIELDS:
            return ""
        if isinstance(value, ast.AST):
            text = self.node(value)
            return "" if name == "format_spec" and text == "JoinedStr()" else text
        if not isinstance(value, list):
            return str(value)
        if isinstance(value[0], ast.stmt):
            texts = self.block(value)
            return f"[{'; '.join(texts)}]" if texts else ""
        items = [self.node(item) if isinstance(item, ast.AST) else str(item) for item in value]
        return f"[{', '.join(sorted(items) if name == 'names' else items)}]"

    def _joined(self, node: ast.JoinedStr) -> str:
        """An f-string; some versions of Python add empty pieces to its text or cut it up."""
        parts: list[str] = []
        for is_text, run in groupby(node.values, key=lambda part: isinstance(part, ast.Constant)):
            if is_text:
                text = "".join(str(part.value) for part in run if isinstance(part, ast.Constant))
                parts += [ascii(text)] if text else []
            else:
                parts += [self.node(part) for part in run]
        return f"JoinedStr({', '.join(parts)})"


def _effective(statements: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that compute something."""
    for statement in statements:
        match statement:
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                continue
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                yield from _effective(statement.orelse)
            case _:
                yield statement


def _is_getattr(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.FunctionDef) and statement.name == "__getattr__"


def _is_import(statement: ast.stmt) -> bool:
    return isinstance(statement, (ast.Import, ast.ImportFrom))


def _loads(load: _Load, source: _Source, roots: Mapping[str, Path]) -> Iterator[_Load]:
    """The modules of ours that a module makes Python load, packages on the way included."""
    names = load.module.split(".")
    package = names if source.is_package else names[:-1]
    for parent in _with_parents(package):
        yield _Load(parent, asked=False)
    for level, module, name in source.imports + (source.imports_if_asked if load.asked else ()):
        base = package[: len(package) + 1 - level] if level else []
        target = ".".join([*base, module] if module else base)
        if target.partition(".")[0] not in roots:
            continue
        for parent in _with_parents(target.split(".")):
            yield _Load(parent, asked=name is None)
        is_module = name is not None and _find(f"{target}.{name}", roots) is not None
        yield _Load(f"{target}.{name}" if is_module else target, asked=True)


def _with_parents(names: Sequence[str]) -> Iterator[str]:
    """``a``, ``a.b``, ``a.b.c``."""
    return accumulate(names, "{}.{}".format)


def _find(name: str, roots: Mapping[str, Path]) -> Path | None:
    """The source file of a module or package."""
    top, *rest = name.split(".")
    path = roots[top].joinpath(*rest)
    files = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in files if file.is_file()), None)


def _read_module(name: str, roots: Mapping[str, Path]) -> _Source:
    path = _find(name, roots) if name.partition(".")[0] in roots else None
    if path is None:
        places = ", ".join(str(root) for root in roots.values())
        raise DataError(f"no source of the module {name} in {places}; reinstall the program")
    stat = path.stat()
    return _read_source(path, (stat.st_mtime_ns, stat.st_size))


@cache
def _read_source(path: Path, _state: tuple[int, int]) -> _Source:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as err:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise DataError(f"{path} cannot be parsed by Python {python}: {err}") from err
    eager, if_asked = _CodeReader(), _CodeReader()
    texts = eager.block([statement for statement in tree.body if not _is_getattr(statement)])
    texts += if_asked.block([statement for statement in tree.body if _is_getattr(statement)])
    return _Source(
        hashlib.sha256("\n".join(texts).encode()).hexdigest(),
        path.name == "__init__.py",
        tuple(eager.imports),
        tuple(if_asked.imports),
    )


def _importable_name(module: str, roots: Mapping[str, Path]) -> str:
    """The name itself; of the script that runs, the name by which others would import it."""
    if module not in {"__main__", "__mp_main__"}:
        return module
    script = getattr(sys.modules[module], "__file__", None)
    for top, root in roots.items():
        if script and Path(script).resolve().is_relative_to(root.resolve()):
            inside = Path(script).resolve().relative_to(root.resolve())
            return ".".join([top, *inside.with_suffix("").parts])
    raise DataError(
        f"the script {script} is not in {', '.join(roots)}; give the name of the module of ours"
        " that computes the stage"
    )

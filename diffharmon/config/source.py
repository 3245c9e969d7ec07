"""Reading classes from source without importing them, so that a mistake is reported before torch loads.

Only what a constructor's signature needs is understood: imports, assignments of constants and type aliases, classes
and their bases. What is not understood is `UNKNOWN`, and the class is then imported.
"""

import ast
import collections.abc
import typing
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import annotated_types


class UNKNOWN:
    """Stands for a type or value that is only known at run time; accepts anything."""


class COMPONENT:
    """Stands for a class of a package: its value is a component, a node with ``_target_``."""


BUILTINS = {kind.__name__: kind for kind in (int, float, bool, str, list, tuple, dict)}
# Modules whose names are what they are: importing them is cheap.
VOCABULARIES = {"typing": typing, "collections.abc": collections.abc, "annotated_types": annotated_types}


class SourceModule:
    """The top level of a module's source.

    Args:
        name: Full name of the module.
        path: Its source file.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.definitions: dict[str, ast.AST] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        for node in statements(ast.parse(path.read_text(encoding="utf-8")).body):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                self.definitions[node.name] = node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.definitions[node.targets[0].id] = node.value
            elif isinstance(node, ast.ImportFrom):
                base = self.package.split(".")[: -(node.level - 1) or None] if node.level else []
                origin = ".".join([*base, *([node.module] if node.module else [])])
                self.imports |= {alias.asname or alias.name: (origin, alias.name) for alias in node.names}

    def find(self, name: str, elsewhere: bool = False) -> "tuple[SourceModule, ast.AST] | None":
        """Find where a name is defined, following imports.

        Args:
            name: The name at the top level of this module.
            elsewhere: Follow imports of other packages than this module's and diffharmon, too.
        """
        if name in self.definitions:
            return self, self.definitions[name]
        origin, original = self.imports.get(name, ("", ""))
        near = origin.split(".")[0] in (self.name.split(".")[0], "diffharmon")
        module = read_module(origin) if origin and (near or elsewhere) and origin != self.name else None
        return module.find(original, elsewhere) if module else None

    def value(self, node: ast.AST) -> Any:
        """Evaluate an annotation or a default; `UNKNOWN` is what is only known at run time."""
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self.named(name)
            case ast.Tuple(elts=items) | ast.List(elts=items):
                values = tuple(self.value(item) for item in items)
                return UNKNOWN if UNKNOWN in values else values
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                number = self.value(operand)
                return -number if isinstance(number, int | float) else UNKNOWN
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return typing.Union[self.annotation(left), self.annotation(right)]  # noqa: UP007 (of values)
            case ast.Subscript(value=base, slice=inside):
                return self.subscripted(self.value(base), inside)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self.constraint(name, arguments)
        return UNKNOWN

    def annotation(self, node: ast.AST) -> Any:
        """Evaluate an annotation; what is not understood is `UNKNOWN`, a quoted one is read."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self.annotation(ast.parse(node.value, mode="eval").body)
        return self.value(node)

    def named(self, name: str) -> Any:
        """Evaluate a name."""
        origin, original = self.imports.get(name, ("", ""))
        if origin in VOCABULARIES:
            return getattr(VOCABULARIES[origin], original, UNKNOWN)
        found = self.find(name)
        if found is None:
            return BUILTINS.get(name, UNKNOWN)
        module, node = found
        return COMPONENT if isinstance(node, ast.ClassDef) else module.value(node)

    def subscripted(self, base: Any, inside: ast.AST) -> Any:
        """Evaluate ``base[inside]`` where base is a type of the standard library."""
        items = list(inside.elts) if isinstance(inside, ast.Tuple) else [inside]
        if base is typing.Literal:
            values = tuple(self.value(item) for item in items)
            return typing.Literal[values]
        if base is typing.Annotated:
            constraints = tuple(self.value(item) for item in items[1:])
            kind = self.annotation(items[0])
            return kind if UNKNOWN in constraints else typing.Annotated[(kind, *constraints)]
        if base in (UNKNOWN, COMPONENT, None):
            return UNKNOWN
        kinds = [self.annotation(item) for item in items]  # an ellipsis is a constant, too
        return base[kinds[0] if len(kinds) == 1 else tuple(kinds)]

    def constraint(self, name: str, arguments: list[ast.expr]) -> Any:
        """Evaluate a call of one of ``annotated_types``' constraints."""
        kind = self.named(name)
        values = [self.value(argument) for argument in arguments]
        return kind(*values) if isinstance(kind, type) and UNKNOWN not in values else UNKNOWN


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Walk the statements that run at import, those inside ``if`` and ``try`` as well."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from statements(node.body)


@cache
def read_module(name: str) -> SourceModule | None:
    """Read a module's source; None where it is not found or has none."""
    spec = locate(name)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return SourceModule(name, Path(spec.origin))


def locate(name: str) -> ModuleSpec | None:
    """Find a module without importing its packages, which `importlib.util.find_spec` would."""
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    for number in range(len(rest)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(".".join([top, *rest[: number + 1]]), spec.submodule_search_locations)
    return spec

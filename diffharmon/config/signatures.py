"""What a class can be built with, read from its source or from the class itself."""

import ast
import inspect
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from diffharmon.config.source import UNKNOWN, SourceModule, read_module


@dataclass(frozen=True)
class Parameter:
    """A constructor's parameter.

    Attributes:
        annotation: Its type, with ``Annotated`` bounds; `UNKNOWN` accepts anything.
        required: Whether it has no default.
        default: Its default; `UNKNOWN` where it is only known after importing the class.
    """

    annotation: Any
    required: bool
    default: Any = UNKNOWN


Parameters = dict[str, Parameter]


@cache
def declared_parameters(target: str) -> Parameters | None:
    """Read the constructor of ``module.Class`` without importing it; None where that is not possible."""
    module_name, _, name = target.rpartition(".")
    module = read_module(module_name)
    found = module.find(name, elsewhere=True) if module else None
    return class_parameters(*found) if found and isinstance(found[1], ast.ClassDef) else None


def class_parameters(module: SourceModule, node: ast.AST) -> Parameters | None:
    """Read a class's constructor, its own or the first base's; ``**arguments`` stands for what the bases take."""
    if not isinstance(node, ast.ClassDef):
        return None
    constructors = (item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__")
    constructor = next(constructors, None)
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list) and constructor is None:
        inherited = inherited_parameters(module, node)
        return None if inherited is None else inherited | dict(dataclass_fields(module, node))
    if constructor is None:
        return inherited_parameters(module, node)
    own = dict(function_parameters(module, constructor.args))
    if constructor.args.kwarg is None:
        return own
    inherited = inherited_parameters(module, node)
    return None if inherited is None else inherited | own


def inherited_parameters(module: SourceModule, node: ast.ClassDef) -> Parameters | None:
    """Read the constructor of the first base that can be found; ``Protocol`` and ``ABC`` have none."""
    bases = [base for base in node.bases if ast.unparse(base) not in ("Protocol", "ABC")]
    if not bases:
        return {}
    first = next((base.id for base in bases if isinstance(base, ast.Name)), None)
    found = module.find(first, elsewhere=True) if first else None
    return class_parameters(*found) if found else None


def function_parameters(module: SourceModule, arguments: ast.arguments) -> Iterator[tuple[str, Parameter]]:
    """Read a method's named parameters, without ``self``."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + [*arguments.defaults]
    named = [*zip(positional, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    for argument, default in named[1:]:
        annotation = module.annotation(argument.annotation) if argument.annotation else UNKNOWN
        value = UNKNOWN if default is None else module.value(default)
        yield argument.arg, Parameter(annotation, default is None, value)


def dataclass_fields(module: SourceModule, node: ast.ClassDef) -> Iterator[tuple[str, Parameter]]:
    """Read a dataclass's fields."""
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            if ast.unparse(item.annotation).startswith("ClassVar"):
                continue
            value = UNKNOWN if item.value is None else module.value(item.value)
            yield item.target.id, Parameter(module.annotation(item.annotation), item.value is None, value)


@cache
def parameters_of(target: type) -> Parameters:
    """Read a class's constructor from the class itself; ``**arguments`` stands for what the bases take."""
    found: Parameters = {}
    for base in inspect.getmro(target):
        if "__init__" not in vars(base):
            continue
        _, *own = inspect.signature(vars(base)["__init__"]).parameters.values()
        named = [p for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        hints = type_hints(vars(base)["__init__"])
        found = {p.name: Parameter(hints.get(p.name, UNKNOWN), p.default is p.empty, p.default) for p in named} | found
        if not any(p.kind == p.VAR_KEYWORD for p in own):
            break
    return found


def type_hints(function: Any) -> dict[str, Any]:
    """Evaluate a function's annotations; none where they name what is not there at run time."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        return {}

"""What each number of a row is: recorded with every run, so that loggers and reports need no list of their own."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Direction = Literal["higher", "lower", "none"]
IDENTITY = ("name", "source", "status", "config_hash", "seed")


@dataclass(frozen=True)
class Column:
    """One number of a row.

    Attributes:
        key: What the metric calls it.
        title: What tables call it.
        unit: Such as ``dB``; empty for a plain number.
        direction: Which values are better; ``none`` for a number that is no measure of quality.
        decimals: How many of them tables show.
        has_baseline: The untouched composite is measured too, so that a gain over it is known.
        in_tables: Reports show it; other columns are in the rows only.
        is_main: The metric's headline number: sweeps maximize it, plots and the gallery sort by it.

    Raises:
        ValueError: The main column is not one of which higher is better.
    """

    key: str
    title: str
    unit: str = ""
    direction: Direction = "none"
    decimals: int = 2
    has_baseline: bool = False
    in_tables: bool = True
    is_main: bool = False

    def __post_init__(self) -> None:
        if self.is_main and self.direction != "higher":
            raise ValueError(f"main column {self.key!r}: expected direction 'higher', got {self.direction!r}")

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is the better one."""
        return self.direction == "higher"


@dataclass(frozen=True)
class ColumnGroup:
    """The columns of one metric, as a run records them.

    Attributes:
        name: The metric's name in the configuration, such as ``ihd256``.
        statement: How the metric measures; numbers compare only where it is the same.
        columns: Its columns.
        prefix: Stands before its keys in the rows; empty unless an earlier metric of the run has the same keys.
    """

    name: str
    statement: str
    columns: tuple[Column, ...]
    prefix: str = ""

    def key(self, column: Column) -> str:
        """Return the row key of a column."""
        return f"{self.prefix}{column.key}"

    def baseline_key(self, column: Column) -> str:
        """Return the row key of a column's value for the untouched composite."""
        return f"composite_{self.prefix}{column.key}"

    def to_json(self) -> dict[str, Any]:
        """Return the group as ``run.json`` holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ColumnGroup":
        """Read a group back; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        columns = tuple(Column(**column) for column in value["columns"])
        return cls(str(value["name"]), str(value["statement"]), columns, str(value["prefix"]))


RUN = ColumnGroup(
    "run",
    "",
    (
        Column("score", "score", direction="higher", decimals=3),
        Column("iterations", "iterations", decimals=0, in_tables=False),
        Column("seconds", "seconds", "s", decimals=1, in_tables=False),
        Column("network_calls", "network calls", decimals=0, in_tables=False),
        Column("network_samples", "network evaluations", decimals=0, in_tables=False),
    ),
)
"""The numbers that the runner itself adds to a row: the evaluator's score and what the image cost."""


def format_number(value: float, decimals: int, sign: bool = False) -> str:
    """Format a number for a table; an infinite one as ∞, NaN as a dash."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:{'+' if sign else ''}.{decimals}f}"


def group_columns(metrics: Mapping[str, tuple[str, Sequence[Column]]]) -> tuple[ColumnGroup, ...]:
    """Give every metric its place in the rows.

    A metric whose keys are taken, by an earlier metric or by the runner, gets its name as a prefix, so that several
    evaluation protocols fit into one row.

    Args:
        metrics: Statement and columns by the metric's name.
    """
    taken = {*IDENTITY, "reason", "error", *(column.key for column in RUN.columns)}
    groups = []
    for name, (statement, columns) in metrics.items():
        keys = {column.key for column in columns}
        group = ColumnGroup(name, statement, tuple(columns), "" if keys.isdisjoint(taken) else f"{name}_")
        taken |= {group.key(column) for column in columns}
        groups.append(group)
    return tuple(groups)


def ordered_keys(groups: Iterable[ColumnGroup], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return all row keys in a fixed order: identity, metrics, run, composites, error; then others by alphabet."""
    groups = tuple(groups)
    measured = [group.key(column) for group in groups for column in group.columns]
    run = ["score", "reason", *(column.key for column in RUN.columns[1:])]
    known = [*IDENTITY, *measured, *run, *baseline_keys(groups), "error"]
    return [*known, *sorted({key for row in rows for key in row} - set(known))]


def baseline_keys(groups: Iterable[ColumnGroup]) -> Iterator[str]:
    """Yield the row keys of all numbers that were measured on the untouched composite."""
    for group in groups:
        yield from (group.baseline_key(column) for column in group.columns if column.has_baseline)


def main_column(groups: Iterable[ColumnGroup]) -> tuple[ColumnGroup, Column] | None:
    """Return the first main column of a run's metrics, where one has any."""
    return next(((group, column) for group in groups for column in group.columns if column.is_main), None)

"""All metrics of a run together: one flat row of numbers an image."""

from collections.abc import Mapping

from diffharmon.columns import ColumnGroup, group_columns
from diffharmon.errors import InputError
from diffharmon.protocols import Metric, Sample


class MetricSet:
    """Measures an image by several metrics.

    Args:
        metrics: The metrics by name, in the order of their columns; may be empty.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = dict(metrics)
        described = {name: (metric.statement, metric.columns) for name, metric in self.metrics.items()}
        self.groups: tuple[ColumnGroup, ...] = group_columns(described)

    def measure(self, sample: Sample) -> dict[str, float]:
        """Measure a result, and the untouched composite where a column has a baseline; values by row key.

        Raises:
            InputError: A metric cannot measure the image, or returns a value that is none of its columns.
        """
        row: dict[str, float] = {}
        for metric, group in zip(self.metrics.values(), self.groups, strict=True):
            found = metric.measure(sample)
            unknown = sorted(found.keys() - {column.key for column in group.columns})
            if unknown:
                raise InputError(
                    f"metrics.{group.name} measured {', '.join(unknown)}; expected nothing but its columns "
                    f"{', '.join(column.key for column in group.columns)}"
                )
            row |= {group.key(column): found[column.key] for column in group.columns if column.key in found}
            compared = [column for column in group.columns if column.has_baseline and column.key in found]
            before = metric.measure(sample.unchanged()) if compared else {}
            row |= {group.baseline_key(column): before[column.key] for column in compared}
        return row

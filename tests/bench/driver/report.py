"""What was measured, row by row, and whether it reaches the bars."""

import statistics
from collections import defaultdict
from dataclasses import dataclass


@dataclass
class Row:
    """One line of the table. `ours` and `other` name measurements; without `other` the figure itself is held
    against the bar. `bar` is "<= 1.15" and the like, "< 1" for below the other, or None: for information."""

    what: str
    unit: str
    ours: str
    other: str = None
    bar: str = None
    enough: float = None  # a figure that is good whatever the ratio
    shift: bool = False  # the bar is for the difference between the two, not the ratio


def _number(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{2 if abs(value) >= 10 else 3}f}"


def _reaches(value, bar):
    sign, limit = bar.split()
    limit = float(limit)
    return {"<=": value <= limit, ">=": value >= limit, "<": value < limit}[sign]


class Report:
    """`judging`: whether figures are held against the bars."""

    def __init__(self, judging=True):
        self.judging = judging
        self.values = defaultdict(list)
        self.rows = []

    def add(self, name, value):
        self.values[name].append(value)

    def median(self, name):
        return statistics.median(self.values[name])

    def _measured(self):
        return [row for row in self.rows if self.values[row.ours] and (not row.other or self.values[row.other])]

    def _figure(self, name):
        values = self.values[name]
        spread = f" ({_number(min(values))} to {_number(max(values))})" if len(values) > 1 else ""
        return _number(self.median(name)) + spread

    def _compare(self, row):
        """What is compared was measured in turns: the median is that of each with its neighbour, so that what the
        machine did meanwhile is in both."""
        if not row.other:
            return self.median(row.ours)
        pairs = zip(self.values[row.ours], self.values[row.other], strict=True)
        return statistics.median(ours - other if row.shift else ours / other for ours, other in pairs)

    def _is_missed(self, row):
        if not self.judging or not row.bar or (row.enough and self.median(row.ours) <= row.enough):
            return False
        return not _reaches(self._compare(row), row.bar)

    def _cells(self, row):
        other = self._figure(row.other) if row.other else ""
        compared = f"{self._compare(row):{'+' if row.shift else ''}.3f}" if row.other else ""
        verdict = "**missed**" if self._is_missed(row) else "good" if self.judging and row.bar else ""
        bar = (row.bar or "") + (f", or {row.enough} {row.unit}" if row.enough else "")
        return [row.what, row.unit, self._figure(row.ours), other, compared, bar, verdict]

    def lines(self):
        """The table as markdown."""
        head = ["| what | unit | ours | against | ratio | bar | |", "| --- | --- | ---: | ---: | ---: | ---: | --- |"]
        return head + ["| " + " | ".join(self._cells(row)) + " |" for row in self._measured()]

    def missed(self):
        return [row.what for row in self._measured() if self._is_missed(row)]

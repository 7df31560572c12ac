"""Markdown tables, row by row."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def table_row(cells: Sequence[str]) -> str:
    """One line of a Markdown table.

    >>> table_row(["video-5", "38.90"])
    '| video-5 | 38.90 |'
    """
    return f"| {' | '.join(cells)} |"


def table_head(columns: Sequence[str], text_columns: Collection[int] = (0,)) -> str:
    """The two lines above the rows of a table.

    Args:
        columns: their titles.
        text_columns: indices of the columns that hold text; the others are aligned to the right.
    """
    rules = ["---" if i in text_columns else "---:" for i in range(len(columns))]
    return f"{table_row(columns)}\n{table_row(rules)}"

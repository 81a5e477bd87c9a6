"""A table of texts, for Markdown and HTML alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

DASH = "-"


@dataclass(frozen=True)
class Table:
    """A table of texts, for Markdown and HTML alike.

    Attributes:
        title: its heading.
        header: headings of the columns.
        rows: texts, as many in each as the header has.
        note: what stands below it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self, level: int = 3) -> list[str]:
        """Lines of Markdown, with an empty one at the end."""
        body = [self.header, ["---"] * len(self.header), *self.rows]
        lines = [f"{'#' * level} {self.title}", ""]
        lines += [f"|{'|'.join(row)}|" for row in body]
        return [*lines, "", *([self.note, ""] if self.note else [])]


def section(title: str, tables: Sequence[Table], level: int = 2) -> list[str]:
    """Markdown of a heading and its tables; nothing where there are none."""
    if not tables:
        return []
    body = [line for table in tables for line in table.markdown(level + 1)]
    return [f"{'#' * level} {title}", "", *body]

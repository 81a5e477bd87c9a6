#!/usr/bin/env python3
"""Check the prose of every tracked Markdown page, or of the pages that are named.

python tools/check_prose.py [PAGE ...]

Lines are at most 100 columns wide, sentences at most 30 words long, and the words are
the field's. Tables, code, HTML and the addresses of links are not prose.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

WIDTH = 100
"""Columns of a line."""
WORDS = 30
"""Of a sentence; 25 are the aim."""
RECORDS = "docs/measured"
"""Records of measurements, as long as their numbers need."""
HOUSE_WORDS = {
    r"mend(s|ed|ing)?": "fix",
    r"told": "reported, said",
    r"st(and|ands|ood)(?! for\b)": "is",
    r"brings? out": "outputs",
}
"""What is not said on our pages, and what is said instead."""
_ADDRESS = re.compile(r"\]\([^)]*\)|<?https?://\S+")
_SENTENCE_END = re.compile(r"(?<!\b[ie]\.[eg]\.)(?<=[.!?])[\"')*]*\s+")
_WORD = re.compile(r"\w[\w'’.,/-]*")


def tracked_pages(root: Path) -> list[Path]:
    """Every Markdown page that git knows."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--", "*.md"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [root / name for name in names.split("\0") if name]


def prose(text: str) -> Iterator[tuple[int, int, Token]]:
    """Headings, paragraphs and items: first line, line behind the last, content."""
    in_table = False
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type in ("table_open", "table_close"):
            in_table = token.type == "table_open"
        if token.type == "inline" and token.map and not in_table:
            yield (*token.map, token)


def words_of(inline: Token) -> str:
    """What is read of a paragraph; every piece of code counts as one word."""
    parts = []
    for child in inline.children or []:
        if child.type == "code_inline":
            parts.append("code")
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type == "text":
            parts.append(child.content)
    return "".join(parts)


def faults(text: str, words: int = WORDS) -> Iterator[tuple[int, str]]:
    """Line, counted from 1, and what is wrong there; ``words``: of a sentence."""
    lines = text.splitlines()
    for first, end, inline in prose(text):
        for number in range(first, end):
            width = len(_ADDRESS.sub("]()", lines[number]))
            if width > WIDTH:
                yield number + 1, f"{width} columns; wrap at {WIDTH}"
        read = words_of(inline)
        for sentence in _SENTENCE_END.split(read):
            count = len(_WORD.findall(sentence))
            if count > words:
                yield first + 1, f"{count} words: {sentence[:60]!r}; make two sentences"
        for word, instead in HOUSE_WORDS.items():
            found = re.search(rf"\b{word}\b", read, re.IGNORECASE)
            if found:
                yield first + 1, f"{found[0]!r}: write {instead}"


def _words(page: Path) -> int:
    return sys.maxsize if RECORDS in page.as_posix() else WORDS


def main(argv: Sequence[str] | None = None) -> int:
    """Print every fault; 1 if there is one."""
    names = sys.argv[1:] if argv is None else argv
    root = Path(__file__).parents[1]
    pages = [Path(name) for name in names] or tracked_pages(root)
    found = [
        f"{page}:{line}: {fault}"
        for page in pages
        for line, fault in faults(page.read_text(encoding="utf-8"), _words(page))
    ]
    print("\n".join(found) or f"prose of {len(pages)} pages: no fault")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())

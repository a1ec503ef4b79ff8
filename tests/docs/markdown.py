"""Blocks, headings and links of Markdown files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block and the line it begins at."""

    language: str
    text: str
    line: int


def blocks(path: Path) -> list[Block]:
    """Every fenced block of a file, in order."""
    text = path.read_text()
    return [
        Block(found["language"], found["text"], text.count("\n", 0, found.start()) + 2)
        for found in BLOCK.finditer(text)
    ]


def prose(path: Path) -> str:
    """A file without its fenced blocks."""
    return BLOCK.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """What links may name behind `#`."""
    return {
        re.sub(r"[^\w\- ]", "", found["text"].lower()).replace(" ", "-")
        for found in HEADING.finditer(prose(path))
    }


def links(path: Path) -> Iterator[tuple[Path, str]]:
    """Files of this repository that a file links to, each with its anchor or nothing."""
    for found in LINK.finditer(prose(path)):
        target, _, anchor = found["target"].partition("#")
        if not target.startswith(("http:", "https:", "mailto:")):
            yield (path.parent / target if target else path), anchor

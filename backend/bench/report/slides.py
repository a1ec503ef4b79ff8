"""A deck: one source for the document and for the .pptx, so that both say the same."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.ft2font import FT2Font
from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.enum.text import MSO_ANCHOR
from pptx.util import Inches, Pt

WIDTH, HEIGHT, MARGIN = 13.333, 7.5, 0.6
INSIDE = WIDTH - 2 * MARGIN
BOTTOM = 6.95
INK, BLUE, GREY = "222222", "1F6FB4", "666666"
FONT = "Arial"
TITLE_PT, LEAD_PT, TEXT_PT, TABLE_PT, FOOT_PT = 30, 20, 20, 18, 10
LEADING = 1.25
"""Height of a line, in letters."""
ARIAL = 0.93
SIDE = 4.3
"""Inches for the points beside a picture."""


@dataclass(frozen=True, slots=True)
class Slide:
    """`table`: a header and rows. `columns`: heading and lines of each. `picture`: alternative text and path.

    Points stand beside a picture, under a table, or alone.
    """

    title: str
    lead: str = ""
    points: tuple[str, ...] = ()
    table: tuple[tuple[str, ...], ...] = ()
    columns: tuple[tuple[str, tuple[str, ...]], ...] = ()
    picture: tuple[str, str] | None = None


def plain(text: str) -> str:
    """Without the marks of Markdown."""
    return text.replace("**", "").replace("`", "")


@cache
def _font() -> FT2Font:
    """DejaVu Sans, an eighth wider than Arial: what fits in it, less `ARIAL`, fits."""
    return FT2Font(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"))


def text_height(text: str, points: int, width: float) -> float:
    """Inches that a paragraph takes in a column of `width` inches."""
    font = _font()
    font.set_size(points, 72)
    lines, used = 1, 0.0
    for word in plain(text).split():
        font.set_text(word + " ")
        wide = ARIAL * font.get_width_height()[0] / 64 / 72
        if used + wide > width and used:
            lines, used = lines + 1, 0.0
        used += wide
    return lines * points * LEADING / 72


def _stack(texts: Sequence[str], points: int, width: float) -> float:
    return sum(text_height(f"• {text}", points, width - 0.3) + 0.11 for text in texts)


def _weights(table: Sequence[Sequence[str]]) -> list[float]:
    """Widths of columns, in inches: by their longest cell, so that short ones stay on a line."""
    longest = [max(len(plain(row[at])) for row in table) for at in range(len(table[0]))]
    bounded = [min(38, max(9, length + 2)) for length in longest]
    return [INSIDE * weight / sum(bounded) for weight in bounded]


def _columns(slide: Slide) -> list[float]:
    """Widths in inches: a column with more lines is wider, so that they wrap less."""
    weights = [max(3, len(lines)) for _, lines in slide.columns]
    return [INSIDE * weight / sum(weights) for weight in weights]


def _rows_high(table: Sequence[Sequence[str]]) -> list[float]:
    widths = _weights(table)
    return [
        max(text_height(cell, TABLE_PT, wide - 0.2) for cell, wide in zip(row, widths, strict=True)) + 0.14
        for row in table
    ]


def height(slide: Slide) -> float:
    """Where the lowest shape ends, in inches from the top; a picture takes what is left."""
    top = 0.35 + text_height(slide.title, TITLE_PT, INSIDE) + 0.15
    if slide.lead:
        top += text_height(slide.lead, LEAD_PT, INSIDE) + 0.2
    if slide.picture:
        beside = _stack(slide.points, TEXT_PT, SIDE)
        return top + max(beside, 2.0)
    if slide.table:
        top += sum(_rows_high(slide.table)) + 0.3
    if slide.points:
        top += _stack(slide.points, TEXT_PT, INSIDE)
    if slide.columns:
        stacks = zip(slide.columns, _columns(slide), strict=True)
        top += 0.5 + max(_stack(lines, TABLE_PT, wide - 0.3) for (_, lines), wide in stacks)
    return top


def overflowing(deck: Sequence[Slide]) -> list[str]:
    """Titles of slides whose contents do not fit above the foot."""
    return [slide.title for slide in deck if height(slide) > BOTTOM]


def write(deck: Sequence[Slide], path: Path, foot: str) -> None:
    """The file; pictures are looked for beside it."""
    presentation = Presentation()
    presentation.slide_width, presentation.slide_height = Inches(WIDTH), Inches(HEIGHT)
    for at, slide in enumerate(deck, start=1):
        sheet = presentation.slides.add_slide(presentation.slide_layouts[6])
        _fill(sheet, slide, path.parent)
        _text(sheet, [f"{foot}   {at}/{len(deck)}"], (MARGIN, 7.08, INSIDE, 0.3), (FOOT_PT, GREY, False))
    presentation.save(str(path))


def _fill(sheet: Any, slide: Slide, folder: Path) -> None:
    high = text_height(slide.title, TITLE_PT, INSIDE)
    _text(sheet, [slide.title], (MARGIN, 0.35, INSIDE, high), (TITLE_PT, BLUE, True))
    top = 0.35 + high + 0.15
    if slide.lead:
        high = text_height(slide.lead, LEAD_PT, INSIDE)
        _text(sheet, [slide.lead], (MARGIN, top, INSIDE, high), (LEAD_PT, INK, False))
        top += high + 0.2
    points = [f"• {point}" for point in slide.points]
    if slide.picture:
        wide = INSIDE - SIDE - 0.3 if points else INSIDE
        _picture(sheet, folder / slide.picture[1], (MARGIN, top, wide, BOTTOM - top))
        if points:
            _text(sheet, points, (MARGIN + wide + 0.3, top, SIDE, BOTTOM - top), (TEXT_PT, INK, False))
        return
    if slide.table:
        _table(sheet, slide.table, top)
        top += sum(_rows_high(slide.table)) + 0.3
    if points:
        high = _stack(slide.points, TEXT_PT, INSIDE)
        _text(sheet, points, (MARGIN, top, INSIDE, high), (TEXT_PT, INK, False))
    left = MARGIN
    for (heading, lines), wide in zip(slide.columns, _columns(slide) if slide.columns else (), strict=True):
        _text(sheet, [heading], (left, top, wide - 0.3, 0.4), (LEAD_PT, BLUE, True))
        box = (left, top + 0.5, wide - 0.3, BOTTOM - top - 0.5)
        left += wide
        _text(sheet, [f"• {line}" for line in lines], box, (TABLE_PT, INK, False))


def _text(
    sheet: Any, lines: Sequence[str], box: tuple[float, float, float, float], look: tuple[int, str, bool]
) -> None:
    """`box`: left, top, width, height in inches. `look`: points, colour, bold."""
    size, colour, bold = look
    frame = sheet.shapes.add_textbox(*(Inches(value) for value in box)).text_frame
    frame.word_wrap = True
    frame.margin_left = frame.margin_right = frame.margin_top = frame.margin_bottom = 0
    for at, line in enumerate(lines):
        paragraph = frame.paragraphs[0] if at == 0 else frame.add_paragraph()
        run = paragraph.add_run()
        run.text = plain(line)
        run.font.size, run.font.bold, run.font.name = Pt(size), bold, FONT
        run.font.color.rgb = _colour(colour)
        paragraph.space_after = Pt(6)


def _colour(code: str) -> Any:
    make: Any = RGBColor
    return make.from_string(code)


def _table(sheet: Any, table: Sequence[Sequence[str]], top: float) -> None:
    heights = _rows_high(table)
    shape = sheet.shapes.add_table(
        len(table), len(table[0]), Inches(MARGIN), Inches(top), Inches(INSIDE), Inches(sum(heights))
    )
    for at, wide in enumerate(_weights(table)):
        shape.table.columns[at].width = Inches(wide)
    for y, line in enumerate(table):
        shape.table.rows[y].height = Inches(heights[y])
        for x, cell in enumerate(line):
            box = shape.table.cell(y, x)
            box.margin_left = box.margin_right = Inches(0.08)
            box.margin_top = box.margin_bottom = Inches(0.03)
            box.text, box.vertical_anchor = plain(cell), MSO_ANCHOR.MIDDLE
            for run in (run for paragraph in box.text_frame.paragraphs for run in paragraph.runs):
                run.font.size, run.font.bold, run.font.name = Pt(TABLE_PT), y == 0, FONT


def _picture(sheet: Any, path: Path, box: tuple[float, float, float, float]) -> None:
    """As large as the box allows, in its middle."""
    left, top, wide, high = box
    picture = sheet.shapes.add_picture(str(path), Inches(left), Inches(top))
    scale = min(Inches(wide) / picture.width, Inches(high) / picture.height)
    picture.width, picture.height = (math.floor(side * scale) for side in (picture.width, picture.height))
    picture.left = Inches(left) + (Inches(wide) - picture.width) // 2
    picture.top = Inches(top) + (Inches(high) - picture.height) // 2


def texts(path: Path) -> list[str]:
    """All text of a deck, in order: two files that say the same compare equal."""
    found: list[str] = []
    for sheet in Presentation(str(path)).slides:
        for shape in sheet.shapes:
            if shape.has_text_frame:
                found.append(shape.text_frame.text)
            elif shape.has_table:
                found += [cell.text for row in shape.table.rows for cell in row.cells]
    return found


def expected(deck: Sequence[Slide], foot: str) -> list[str]:
    """What `texts` finds in a file that was written from this deck."""
    found: list[str] = []
    for at, slide in enumerate(deck, start=1):
        found += [plain(text) for text in (slide.title, slide.lead) if text]
        found += [plain(cell) for line in slide.table for cell in line]
        if slide.points:
            found.append("\n".join(f"• {plain(point)}" for point in slide.points))
        for heading, lines in slide.columns:
            found += [plain(heading), "\n".join(f"• {plain(line)}" for line in lines)]
        found.append(f"{foot}   {at}/{len(deck)}")
    return found

"""A deck: one source for the document and for the .pptx, so that both say the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.util import Emu, Inches, Pt

WIDTH, HEIGHT = Inches(13.333), Inches(7.5)
MARGIN = Inches(0.6)
INK, BLUE, GREY = "222222", "1F6FB4", "666666"
TITLE_PT, TEXT_PT, TABLE_PT, FOOT_PT = 28, 18, 12, 10
ROOM = Inches(5.5)
"""For points, between the title and the foot."""
MOST_ROWS = 10
"""Of a table on one slide: more go to a continuation, so that nothing leaves the page."""


@dataclass(frozen=True, slots=True)
class Slide:
    """`table`: a header and rows. `picture`: alternative text and path relative to the document."""

    title: str
    points: tuple[str, ...] = ()
    table: tuple[tuple[str, ...], ...] = ()
    picture: tuple[str, str] | None = None


def paged(deck: Sequence[Slide]) -> list[Slide]:
    """Points and tables that are too long for a slide continue on the next one, under the same header."""
    made: list[Slide] = []
    for slide in [part for whole in deck for part in _split(whole)]:
        header, body = slide.table[:1], slide.table[1:]
        if len(body) <= MOST_ROWS:
            made.append(slide)
            continue
        for start in range(0, len(body), MOST_ROWS):
            title = slide.title if start == 0 else f"{slide.title} (continuación)"
            points = slide.points if start == 0 else ()
            made.append(Slide(title, points, (*header, *body[start : start + MOST_ROWS])))
    return made


def _split(slide: Slide) -> list[Slide]:
    """The points in as many slides as they need; a table or a picture stays with the last."""
    parts: list[list[str]] = [[]]
    for point in slide.points:
        if parts[-1] and _height([*parts[-1], point]) > ROOM:
            parts.append([])
        parts[-1].append(point)
    titles = [slide.title, *[f"{slide.title} (continuación)"] * (len(parts) - 1)]
    made = [Slide(title, tuple(points)) for title, points in zip(titles, parts, strict=True)]
    return [*made[:-1], Slide(titles[-1], tuple(parts[-1]), slide.table, slide.picture)]


def write(deck: Sequence[Slide], path: Path, foot: str) -> None:
    """The file; pictures are looked for beside it."""
    presentation = Presentation()
    presentation.slide_width, presentation.slide_height = WIDTH, HEIGHT
    pages = paged(deck)
    for at, slide in enumerate(pages, start=1):
        sheet = presentation.slides.add_slide(presentation.slide_layouts[6])
        _text(sheet, [slide.title], Inches(0.35), Inches(0.9), (TITLE_PT, BLUE, True))
        top: int = Inches(1.35)
        if slide.points:
            height = _height(slide.points)
            _text(sheet, [f"• {plain(point)}" for point in slide.points], top, height, (TEXT_PT, INK, False))
            top += height
        if slide.table:
            _table(sheet, slide.table, top)
        if slide.picture:
            _picture(sheet, path.parent / slide.picture[1], top)
        _text(sheet, [f"{foot}   {at}/{len(pages)}"], Inches(7.05), Inches(0.3), (FOOT_PT, GREY, False))
    presentation.save(str(path))


def plain(text: str) -> str:
    """Without the marks of Markdown."""
    return text.replace("**", "").replace("`", "")


def _height(points: Sequence[str]) -> int:
    """About 90 characters fit in a line."""
    lines = sum(1 + len(plain(point)) // 90 for point in points)
    return Inches(0.34 * lines + 0.08 * len(points) + 0.1)


def _text(sheet: Any, lines: Sequence[str], top: int, height: int, look: tuple[int, str, bool]) -> None:
    """`look`: points, colour, bold."""
    size, colour, bold = look
    frame = sheet.shapes.add_textbox(MARGIN, top, WIDTH - 2 * MARGIN, height).text_frame
    frame.word_wrap = True
    for at, line in enumerate(lines):
        paragraph = frame.paragraphs[0] if at == 0 else frame.add_paragraph()
        run = paragraph.add_run()
        run.text = plain(line)
        run.font.size, run.font.bold = Pt(size), bold
        run.font.color.rgb = _colour(colour)
        paragraph.space_after = Pt(6)


def _colour(code: str) -> Any:
    make: Any = RGBColor
    return make.from_string(code)


def _table(sheet: Any, table: Sequence[Sequence[str]], top: int) -> None:
    rows, columns = len(table), len(table[0])
    shape = sheet.shapes.add_table(rows, columns, MARGIN, top, WIDTH - 2 * MARGIN, Inches(0.36 * rows))
    weights = [min(52, max(12, *(len(plain(line[at])) + 2 for line in table))) for at in range(columns)]
    for at, weight in enumerate(weights):
        shape.table.columns[at].width = Emu((WIDTH - 2 * MARGIN) * weight // sum(weights))
    for y, line in enumerate(table):
        for x, cell in enumerate(line):
            box = shape.table.cell(y, x)
            box.margin_left = box.margin_right = Inches(0.05)
            box.margin_top = box.margin_bottom = Inches(0.02)
            box.text = plain(cell)
            for paragraph in box.text_frame.paragraphs:
                for run in paragraph.runs:
                    run.font.size, run.font.bold = Pt(TABLE_PT), y == 0


def _picture(sheet: Any, path: Path, top: int) -> None:
    room = Inches(6.95) - top
    picture = sheet.shapes.add_picture(str(path), MARGIN, top, height=room)
    widest = WIDTH - 2 * MARGIN
    if picture.width > widest:
        picture.height = Emu(picture.height * widest // picture.width)
        picture.width = Emu(widest)
    picture.left = Emu((WIDTH - picture.width) // 2)


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
    pages = paged(deck)
    for at, slide in enumerate(pages, start=1):
        found.append(plain(slide.title))
        if slide.points:
            found.append("\n".join(f"• {plain(point)}" for point in slide.points))
        found += [plain(cell) for line in slide.table for cell in line]
        found.append(f"{foot}   {at}/{len(pages)}")
    return found


def overflowing(path: Path) -> list[str]:
    """Titles of slides on which a shape leaves the page, by its own size and by its lines of text."""
    found: list[str] = []
    for sheet in Presentation(str(path)).slides:
        shapes = list(sheet.shapes)
        for shape in shapes:
            height = max(shape.height, _table_height(shape)) if shape.has_table else shape.height
            if shape.top + height > HEIGHT or shape.left + shape.width > WIDTH:
                found.append(shapes[0].text_frame.text)
    return found


def _table_height(shape: Any) -> int:
    """A cell is as high as its lines: about 0.085 inches a character at the table's size."""
    widths = [column.width for column in shape.table.columns]
    high = 0
    for row in shape.table.rows:
        lines = max(
            1 + int(len(cell.text) * Inches(0.085)) // max(1, width - Inches(0.1))
            for cell, width in zip(row.cells, widths, strict=True)
        )
        high += max(Inches(0.3), int(lines * Inches(0.21)))
    return high

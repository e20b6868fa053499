"""Document → one HTML file that needs nothing from elsewhere, and may fetch nothing either."""

from __future__ import annotations

import base64
from html import escape
from typing import assert_never

from edge.report.document import (
    Block,
    Chart,
    Document,
    Facts,
    Gallery,
    Heading,
    Paragraph,
    Picture,
    Signatures,
    Table,
)
from edge.report.drawing import Dot, Drawing, Label, Line, Rectangle, Shape
from edge.text import printable

# A browser that opens the file runs and loads nothing but what stands here, whatever the file may have come to hold.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 60em;
       margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0; }
h2 { font-size: 1.15em; margin: 1.8em 0 .5em; border-bottom: 1px solid #ccc; break-after: avoid; }
.subject { color: #555; margin-top: .2em; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .6em 0; }
th, td { padding: .2em .7em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top;
         overflow-wrap: break-word; }
td { max-width: 46em; }
th.r, td.r { text-align: right; font-variant-numeric: tabular-nums; }
.facts th { font-weight: 600; white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }  /* a hash has no place to break */
p.good, p.bad, p.open { padding: .5em .8em; border-left: 5px solid; }
.good { background: #e5f4e8; border-color: #2c7a3d; } .bad { background: #fbe6e6; border-color: #b02a2a; }
.open { background: #fdf3d8; border-color: #a97a00; }
.gallery { display: flex; flex-wrap: wrap; gap: .6em; }
figure { margin: .6em 0; } figcaption { font-size: .88em; color: #444; }
.gallery figure { width: 8.6em; margin: 0; padding: .3em; border: 1px solid #ccc; break-inside: avoid; }
.gallery figure.bad { border: 3px solid #b02a2a; } .gallery figure.open { border: 3px solid #a97a00; }
.gallery img { width: 100%; display: block; background: #eee; }
.gallery figcaption { font-size: .75em; line-height: 1.3; overflow-wrap: anywhere; }
.none { display: block; aspect-ratio: 1; background: #eee; }
.signature { display: grid; grid-template-columns: 2fr 1fr; gap: 2em; margin-top: 3.2em; break-inside: avoid; }
.signature span { border-top: 1px solid #1a1a1a; padding-top: .2em; font-size: .85em; }
footer { margin-top: 3em; border-top: 1px solid #ccc; color: #555; font-size: .85em; }
svg { max-width: 100%; height: auto; } svg text { font-family: system-ui, sans-serif; fill: #1a1a1a; }
@media (max-width: 40em) { .facts th { white-space: normal; } }
@media print { body { margin: 0; max-width: none; font-size: 11pt; } * { print-color-adjust: exact; } }
"""


def render(document: Document) -> str:
    """Write a document as HTML, in UTF-8."""
    title, subject = _text(document.title), _text(document.subject)
    made = document.made_at.strftime("%Y-%m-%d %H:%M UTC")
    body = "\n".join(_block(block) for block in document.blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}: {subject}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{title}</h1>\n<p class="subject">{subject}</p>\n{body}\n'
        f"<footer>{title}: {subject}. Made {made}.</footer>\n</body>\n</html>\n"
    )


def _text(text: str) -> str:
    return escape(printable(text))


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{_text(text)}</h2>"
        case Paragraph(text, tone):
            return f'<p class="{tone}">{_text(text)}</p>'
        case Facts(rows):
            lines = "\n".join(
                f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows
            )
            return f'<table class="facts">\n{lines}\n</table>'
        case Table():
            return _table(block)
        case Chart(drawing, caption):
            return f"<figure>{_svg(drawing)}<figcaption>{_text(caption)}</figcaption></figure>"
        case Gallery(pictures):
            return '<div class="gallery">\n' + "\n".join(map(_picture, pictures)) + "\n</div>"
        case Signatures(roles):
            return "\n".join(
                f'<div class="signature"><span>{_text(role)}: name and signature</span><span>date</span></div>'
                for role in roles
            )
        case _:
            assert_never(block)


def _table(table: Table) -> str:
    titles = zip(table.align, table.header, strict=True)
    header = "".join(f'<th class="{align}">{_text(title)}</th>' for align, title in titles)
    lines = []
    for number, row in enumerate(table.rows):
        tone = table.tones[number] if table.tones else "plain"
        shades = table.shades[number] if table.shades else (0.0,) * len(row)
        cells = "".join(
            f'<td class="{align}"{_shade(shade)}>{_text(cell)}</td>'
            for align, cell, shade in zip(table.align, row, shades, strict=True)
        )
        lines.append(f'<tr class="{tone}">{cells}</tr>')
    return f"<table>\n<tr>{header}</tr>\n" + "\n".join(lines) + "\n</table>"


def _shade(shade: float) -> str:
    return f' style="background: rgba(31, 78, 140, {0.55 * shade:.3f})"' if shade > 0 else ""


def _picture(picture: Picture) -> str:
    words = "<br>".join(map(_text, picture.lines))
    if picture.jpeg is None:
        image = '<span class="none"></span>'
    else:
        data = base64.b64encode(picture.jpeg).decode("ascii")
        image = f'<img alt="{_text(", ".join(picture.lines))}" src="data:image/jpeg;base64,{data}">'
    return f'<figure class="{picture.tone}">{image}<figcaption>{words}</figcaption></figure>'


def _svg(drawing: Drawing) -> str:
    size = f'width="{drawing.width:g}" height="{drawing.height:g}"'
    shapes = "".join(map(_shape, drawing.shapes))
    return f'<svg {size} viewBox="0 0 {drawing.width:g} {drawing.height:g}">{shapes}</svg>'


def _shape(shape: Shape) -> str:
    match shape:
        case Line(x1, y1, x2, y2, colour, width):
            ends = f'x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}"'
            return f'<line {ends} stroke="{colour}" stroke-width="{width:g}"/>'
        case Rectangle(x, y, width, height, colour):
            size = f'width="{width:.2f}" height="{height:.2f}"'
            return f'<rect x="{x:.2f}" y="{y:.2f}" {size} fill="{colour}"/>'
        case Dot(x, y, radius, colour):
            return f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{radius:g}" fill="{colour}"/>'
        case Label(x, y, text, anchor, size):
            where = f'x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}" font-size="{size:g}"'
            return f"<text {where}>{_text(text)}</text>"
        case _:
            assert_never(shape)

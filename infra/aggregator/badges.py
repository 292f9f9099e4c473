"""A small picture of a site's state, for other web pages: its shape and its word say it, and its colour too. Pure."""

from __future__ import annotations

from html import escape
from typing import Final

from .words import SITE_STATES

CONTENT_TYPE: Final = "image/svg+xml"
# Of a site's name nothing can begin with "_".
POOL: Final = "_pool"

# The mark of each level in a square of 12, and its colour on white: each has a contrast of at least 3 to 1.
_TICK: Final = '<path d="M3 6.2 5.2 8.4 9 4" fill="none" stroke="#fff" stroke-width="1.6"/>'
_BANG: Final = '<path d="M6 4.2V7.6M6 8.8V10" stroke="#fff" stroke-width="1.4"/>'
_CROSS: Final = '<path d="M3.6 3.6 8.4 8.4M8.4 3.6 3.6 8.4" stroke="#fff" stroke-width="1.6"/>'
MARKS: Final = {
    "ok": (f'<circle cx="6" cy="6" r="6" fill="{{0}}"/>{_TICK}', "#0b7a5e"),
    "warn": (f'<path d="M6 .5 12 11.5H0z" fill="{{0}}"/>{_BANG}', "#9a6200"),
    "bad": (f'<path d="M3.5 0h5L12 3.5v5L8.5 12h-5L0 8.5v-5z" fill="{{0}}"/>{_CROSS}', "#b3261e"),
    "none": ('<circle cx="6" cy="6" r="5" fill="none" stroke="{0}" stroke-width="2"/>', "#5c6670"),
}

_HEIGHT: Final = 22
_PAD: Final = 7
# The width of a character is not known here. It is set with textLength, so that no font can run over the edge.
_WIDTHS: Final = {"narrow": 3.4, "wide": 9.6, "other": 6.6}


def site_badge(site: str, state: str) -> bytes:
    """Returns the badge of a site in a state of status/1."""
    level, word = SITE_STATES.get(state, ("none", state))
    return draw(site, word, level)


def draw(name: str, word: str, level: str) -> bytes:
    """Returns an SVG with a name on dark and a word on white, and the level's mark before it."""
    left, right = _width(name), _width(word)
    split = left + 2 * _PAD
    width = split + _PAD + 12 + 5 + right + _PAD
    mark, colour = MARKS[level]
    title = escape(f"{name}: {word}")
    text = 'font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" lengthAdjust="spacingAndGlyphs"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{_HEIGHT}"'
        f' viewBox="0 0 {width:.0f} {_HEIGHT}" role="img" aria-label="{title}">'
        f"<title>{title}</title>"
        f'<rect width="{width:.0f}" height="{_HEIGHT}" rx="4" fill="#fff"/>'
        f'<path d="M4 0H{split:.0f}V{_HEIGHT}H4a4 4 0 0 1-4-4V4a4 4 0 0 1 4-4z" fill="#2b3138"/>'
        f'<rect x=".5" y=".5" width="{width - 1:.0f}" height="{_HEIGHT - 1}" rx="3.5" fill="none" stroke="#2b3138"/>'
        f'<text x="{_PAD}" y="15" fill="#fff" textLength="{left:.0f}" {text}>{escape(name)}</text>'
        f'<g transform="translate({split + _PAD:.0f} 5)">{mark.format(colour)}</g>'
        f'<text x="{split + _PAD + 17:.0f}" y="15" fill="#1c2126" textLength="{right:.0f}" {text}>{escape(word)}</text>'
        "</svg>\n"
    ).encode()


def _width(text: str) -> float:
    widths = (
        _WIDTHS["narrow"] if char in "ijl.,:;'|!ft r-" else _WIDTHS["wide"] if char in "mwMW%@" else _WIDTHS["other"]
        for char in text
    )
    return sum(widths)

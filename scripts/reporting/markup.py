"""Text that becomes HTML.  Keys, scopes, states and notes are others' data: all of it is escaped."""

import html

THIN = "\u202f"                 # a thin space, at which no line breaks


def text(value):
    """Escapes for an element and for an attribute in double quotes.

    What would be invisible, or turn the direction of the text around it, is shown as its code.
    """
    shown = []
    for c in str(value):
        code = ord(c)
        if code < 32 or 127 <= code < 160 or 0x200b <= code <= 0x200f or 0x2028 <= code <= 0x202e \
                or 0x2060 <= code <= 0x206f or code == 0xfeff:
            shown.append(f"\\u{code:04x}")
        else:
            shown.append(c)
    return html.escape("".join(shown), quote=True)


def short(value, limit=48):
    value = str(value)
    return value if len(value) <= limit else value[:limit - 1] + "…"


def number(value):
    """In threes: 12 345."""
    return f"{value:,}".replace(",", THIN)


def rate(value):
    if value >= 100:
        return number(round(value))
    if value == 0:
        return "0"
    return f"{value:.1f}".replace(".0", "") if value >= 0.1 else f"{value:.2g}"


def span(seconds):
    """A length of time in its two largest units."""
    seconds = max(0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    rest, parts = round(seconds), []
    for size, name in units:
        if rest >= size:
            parts.append(f"{rest // size}\u00a0{name}")
            rest %= size
        elif parts:
            break
    return " ".join(parts[:2])

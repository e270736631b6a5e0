"""Characters that nobody sees: what copying and pasting leaves in names, headers and numbers."""

import re

#: Soft hyphen, zero-width and bidirectional marks, byte order mark: they have no width and no meaning of their own.
INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all of Unicode's but for tab and line feed


def has_control_character(text: str) -> bool:
    """Whether there is a control character other than a tab or a line break."""
    return not text.isprintable() and _CONTROL.search(text) is not None

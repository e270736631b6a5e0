"""Find what is probably a mistake in a message text, such as `{name}` for `{{name}}`. Pure."""

import html
import re
from dataclasses import dataclass

_NAME = r"[^\W\d_](?:[\w .'\u2019/-]{0,38}\w)?"
_SLIP = re.compile(
    rf"""
      \{{{{\{{ (?P<triple> [^{{}}\n]{{0,40}} ) \}}\}}\}}
    | (?P<variable> \{{\{{ [^{{}}]* \}}\}} )  # right: skipped
    | [$\#]? \{{ (?P<single> [^{{}}\n]{{0,40}} ) \}}  # {{name}} with one brace, ${{name}}
    | \[{{1,3}} \s? (?P<square> {_NAME} ) \s? \]{{1,3}} (?! \( )             # not the words of a link
    | %{{1,3}} (?! [0-9a-f]{{2}} % ) (?P<percent> [^\W\d_][\w.-]{{0,38}} ) %{{1,3}}  # not the %C3%A9 of an address
    | (?<! \w ) \#{{1,3}} (?P<hash> [^\W\d_][\w.-]{{0,38}} ) \#
    | (?P<break> (?-i: \\r\\n | \\[nr] ) | < br \s? /? > )
    | (?P<tab> (?-i: \\t ) )
    | (?P<tag> < /? (?: [biuspa] | em | strong | span | div | ul | li | h\d ) (?: \s [^<>\n]{{0,200}} )? /? > )
    | <{{1,3}} (?P<angle> {_NAME} ) >{{1,3}}
    | (?P<entity> & \#? \w{{1,10}} ; )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_FILE_NAME = re.compile(r"@?[^\s{}<>:]{1,200}\.(?:txt|text|md|docx?|odt|rtf)", re.IGNORECASE)
_PLACEHOLDERS = ("triple", "single", "square", "percent", "hash", "angle")
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Slip:
    """A piece of a text, and what to write for what was probably meant."""

    written: str
    instead: str  #: a phrase: "{{name}} fills in a column"


def find(text: str) -> list[Slip]:
    r"""The slips of a text, each spelling once: `{name}`, `[name]`, `%name%`, a typed `\n`, HTML, a file's name."""
    if _FILE_NAME.fullmatch(name := text.strip()):
        return [Slip(_shortened(name), "--message-1-file and --message-2-file read files")]
    found: dict[str, Slip] = {}
    for match in _SLIP.finditer(text):
        instead = _instead(match)
        if instead is not None:
            found.setdefault(match[0], Slip(_shortened(match[0]), instead))
    return list(found.values())


def _instead(match: re.Match[str]) -> str | None:
    kind = match.lastgroup
    if kind in _PLACEHOLDERS:
        name = match[kind].strip()
        return f"{{{{{name or 'column'}}}}} fills in a column"
    match kind:
        case "break":
            return "press Enter for a line break"
        case "tab":
            return "press the tab key for a tab, or use a file"
        case "tag":
            return "WhatsApp has *bold* and _italic_"
        case "entity" if (character := html.unescape(match[0])) != match[0]:
            return f"write {character}" if character.isprintable() and character.strip() else "type a space"
        case _:  # a variable, or an & that is no entity
            return None


def _shortened(written: str) -> str:
    return written if len(written) <= _SHOWN_CHARACTERS else f"{written[:_SHOWN_CHARACTERS]}…"

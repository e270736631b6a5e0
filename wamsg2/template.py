"""``{{variables}}`` in message texts."""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from wamsg2.characters import INVISIBLE

_VARIABLE = re.compile(r"\{\{([^{}]*)\}\}")

#: Wassenger's limit on one text (third-party report; a longer text is refused before it is queued).
TEXT_LIMIT_CHARACTERS = 4096


class TemplateError(ValueError):
    """The text cannot be rendered; the message names the variable."""


def tidy(name: str) -> str:
    """A column's or variable's name as people see it: composed, without invisible characters, single spaces."""
    return " ".join(INVISIBLE.sub("", unicodedata.normalize("NFC", name)).split())


@lru_cache(1024)
def fold(name: str) -> str:
    """Equal for all spellings of one column: `{{ prénom }}` is the column ``PRÉNOM``, composed or not."""
    return unicodedata.normalize("NFC", tidy(name).casefold())


def variables(text: str) -> tuple[str, ...]:
    """The names between double braces, in order of first appearance.

    Raises:
        TemplateError: an empty name, or braces that do not pair.
    """
    names = tuple(dict.fromkeys(name.strip() for name in _VARIABLE.findall(text)))
    if "" in names:
        raise TemplateError("empty variable {{}}")
    rest = _VARIABLE.sub("", text)
    if "{{" in rest or "}}" in rest:
        raise TemplateError("double braces that do not pair")
    return names


def check(text: str) -> None:
    """Whether the text can be a message at all.

    Raises:
        TemplateError: it is empty, a variable is written wrongly, or it is over the limit whatever the values are.
    """
    if not text.strip():
        raise TemplateError("the text is empty")
    variables(text)
    if (length := len(_VARIABLE.sub("", text))) > TEXT_LIMIT_CHARACTERS:
        raise _too_long(length)


def render(text: str, values: Mapping[str, str]) -> str:
    """Put the values in; a variable takes the column of its name, else one whose name is another spelling of it.

    Raises:
        TemplateError: a variable has no value, or the result is empty or over the limit.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1].strip()
        found = values.get(name)
        if found is None:
            found = next((value for column, value in values.items() if fold(column) == fold(name)), None)
        if not found:
            message = f"no value for {{{{{name}}}}}"
            raise TemplateError(message)
        return found

    rendered = _VARIABLE.sub(value, text)
    if not rendered.strip():
        raise TemplateError("the text is empty")
    if len(rendered) > TEXT_LIMIT_CHARACTERS:
        raise _too_long(len(rendered))
    return rendered


def _too_long(length: int) -> TemplateError:
    return TemplateError(f"the text has {length} characters; the limit is {TEXT_LIMIT_CHARACTERS}")

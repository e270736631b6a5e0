"""`{{variables}}` in message texts."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wamsg2 import template
from wamsg2.template import TEXT_LIMIT_CHARACTERS, TemplateError

law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Hello", ()),
        ("Hello {{name}}", ("name",)),
        ("{{name}}{{city}}", ("name", "city")),
        ("{{b}} {{a}} {{b}}", ("b", "a")),
        ("{{ name }} {{\tname\n}}", ("name",)),
        ("{{first name}}", ("first name",)),
        ("{{prénom}} {{名}}", ("prénom", "名")),
        ("a {single} brace, } and {", ()),
        ("{{{name}}}", ("name",)),
        ("C'est {100} % {{name}}", ("name",)),
    ],
)
def test_variables(text: str, names: tuple[str, ...]) -> None:
    assert template.variables(text) == names
    template.check(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the text is empty"),
        (" \n\t", "the text is empty"),
        ("{{}}", "empty variable"),
        ("Hi {{ }}", "empty variable"),
        ("Hi {{name", "do not pair"),
        ("Hi name}}", "do not pair"),
        ("{{name}", "do not pair"),
        ("{name}}", "do not pair"),
        ("{{a}} {{b", "do not pair"),
        ("{{{{a}}}}", "do not pair"),
        ("{{a{{b}}", "do not pair"),
        ("}}{{", "do not pair"),
        ("{{a}b}}", "do not pair"),
    ],
)
def test_a_text_that_is_written_wrongly(text: str, problem: str) -> None:
    with pytest.raises(TemplateError, match=problem):
        template.check(text)


@pytest.mark.parametrize(
    ("text", "values", "rendered"),
    [
        ("Hello", {}, "Hello"),
        ("Hello {{name}}!", {"name": "Ana"}, "Hello Ana!"),
        ("{{ name }}, {{name}}", {"name": "Ana", "unused": "x"}, "Ana, Ana"),
        ("{{first name}}", {"first name": "Ana"}, "Ana"),
        ("{{{name}}}", {"name": "Ana"}, "{Ana}"),
        ("{{a}}", {"a": "{{b}}", "b": "no"}, "{{b}}"),  # a value is not a text
        ("{{a}}", {"a": r"\1 \g<0> $1 %s"}, r"\1 \g<0> $1 %s"),
        ("{{a}}", {"a": " x "}, " x "),
        ("{{ Prénom }}", {"pre\u0301nom": "Ana"}, "Ana"),
        ("{{prénom}}", {"PRÉNOM": "Ana"}, "Ana"),
        ("{{first name}}", {"First\u00a0 Name": "Ana"}, "Ana"),
        ("{{name}} {{NAME}}", {"Name": "Bo", "name": "Ana"}, "Ana Bo"),  # its own spelling first
        ("{{prenom}}", {"prénom": "Ana", "prenom": "Bo"}, "Bo"),  # an accent is a letter's
        ("Hola 👋\n{{a}}", {"a": "Zoë"}, "Hola 👋\nZoë"),
    ],
)
def test_render(text: str, values: dict[str, str], rendered: str) -> None:
    assert template.render(text, values) == rendered


@pytest.mark.parametrize("values", [{}, {"name": ""}, {"Name": ""}, {"nám": "Ana"}])
def test_a_variable_without_a_value_is_named(values: dict[str, str]) -> None:
    with pytest.raises(TemplateError, match=r"no value for \{\{name\}\}"):
        template.render("Hello {{ name }}", values)


@pytest.mark.parametrize(("text", "values"), [("", {}), ("{{a}}", {"a": "  "}), (" {{a}}\n", {"a": "\t"})])
def test_nothing_to_send(text: str, values: dict[str, str]) -> None:
    with pytest.raises(TemplateError, match="the text is empty"):
        template.render(text, values)


def test_the_limit_is_on_what_is_sent() -> None:
    assert len(template.render("{{a}}", {"a": "x" * TEXT_LIMIT_CHARACTERS})) == TEXT_LIMIT_CHARACTERS
    with pytest.raises(TemplateError, match="4097 characters; the limit is 4096"):
        template.render("x{{a}}", {"a": "x" * TEXT_LIMIT_CHARACTERS})


names = st.text(alphabet="abc é_-", min_size=1).map(str.strip).filter(bool)
plain = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]))


@law
@given(st.lists(st.tuples(plain, names)), plain, st.data())
def test_a_text_is_its_plain_parts_with_the_values_between(
    parts: list[tuple[str, str]], end: str, data: st.DataObject
) -> None:
    used = list(dict.fromkeys(name for _, name in parts))
    values = {name: data.draw(st.text(min_size=1, max_size=5)) for name in used}
    text = "".join(f"{before}{{{{{name}}}}}" for before, name in parts) + end
    expected = "".join(before + values[name] for before, name in parts) + end
    assert template.variables(text) == tuple(used)
    if expected.strip():
        assert template.render(text, values) == expected


@law
@given(st.text(alphabet="{} ab\n"), st.dictionaries(names, st.text(alphabet="xy ", max_size=3)))
def test_only_template_errors(text: str, values: dict[str, str]) -> None:
    """What passes the check and has all its values can be rendered, unless nothing is left to send."""
    try:
        template.check(text)
        needed = template.variables(text)
        rendered = template.render(text, dict.fromkeys(needed, "x") | values)
    except TemplateError:
        return
    assert "{{" not in rendered
    assert "}}" not in rendered

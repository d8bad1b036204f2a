"""Functions that write HTML and SVG. They escape text, except `Markup`."""

import base64
from collections.abc import Iterable
from html import escape

VOID = {"img", "input"}
"""Elements without an end tag."""


class Markup(str):
    """Text that is HTML, so it is not escaped."""

    __slots__ = ()


Child = str | None | Iterable["Child"]
"""Text, markup, nothing, or several of these."""


def element(name: str, *children: Child, **attributes: str | int | float | bool | None) -> Markup:
    """Write an element: ``element("td", "x", class_="low")`` is ``<td class="low">x</td>``.

    In the name of an attribute, a final underscore is dropped and other underscores become hyphens.
    None and False omit an attribute, and True writes its name alone.
    """
    written = "".join(
        f" {_attribute(key)}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{markup(*children)}</{name}>")


def markup(*children: Child) -> Markup:
    """Join the children. Text is escaped."""
    return Markup("".join(_pieces(children)))


def data_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _pieces(child: Child) -> Iterable[str]:
    if child is None:
        return
    if isinstance(child, Markup):
        yield child
    elif isinstance(child, str):
        yield escape(child)
    else:
        for item in child:
            yield from _pieces(item)


def _attribute(key: str) -> str:
    return key.removesuffix("_").replace("_", "-")

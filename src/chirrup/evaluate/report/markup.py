"""HTML and SVG from small functions. Text is escaped unless it is `Markup` already."""

import base64
from collections.abc import Iterable
from html import escape

VOID = {"img", "input"}
"""Elements without an end tag."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | None | Iterable["Child"]
"""Text, markup, nothing, or several of them."""


def element(name: str, *children: Child, **attributes: str | int | float | bool | None) -> Markup:
    """``element("td", 5 < 6, class_="low")`` -> ``<td class="low">...</td>``.

    In names of attributes a final underscore is dropped and the others become hyphens. None and
    False leave an attribute out, True writes its name alone.
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
    """Children one after the other, escaped where they are text."""
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

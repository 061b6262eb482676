"""The directives ``{sequence}``, ``{graph}`` and ``{house}``: drawings, made while the site is built.

Owns how a drawing gets into a page. The argument is what the drawing shows, for who cannot see it.

Synopsis::

    ```{sequence} A write in an ensemble of three
    client | leader
    client -> leader: setData /a
    ```
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs.extensions import graph, house, sequence


class Drawing(SphinxDirective):
    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        title = " ".join(self.arguments[0].split())
        try:
            picture = self.picture(title, self.env.new_serialno("drawing"))
        except ValueError as error:
            raise self.error(f"{self.name}: {error}") from None
        return [nodes.raw("", picture, format="html")]

    @abstractmethod
    def picture(self, title: str, number: int) -> str:
        """As SVG. Raises `ValueError`."""

    @property
    def text(self) -> str:
        return "\n".join(self.content)


class SequenceDrawing(Drawing):
    def picture(self, title: str, number: int) -> str:
        return sequence.draw(sequence.read(self.text), title, number)


class GraphDrawing(Drawing):
    def picture(self, title: str, number: int) -> str:
        return graph.draw(graph.read(self.text), title, number)


class HouseDrawing(Drawing):
    has_content = False

    def picture(self, title: str, number: int) -> str:
        from tests.test_tidy import MAY_IMPORT  # needs pytest: only where the drawing is wanted

        return graph.draw(house.house(MAY_IMPORT), title, number)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("sequence", SequenceDrawing)
    app.add_directive("graph", GraphDrawing)
    app.add_directive("house", HouseDrawing)
    return {"parallel_read_safe": True}

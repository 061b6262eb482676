"""The directive ``{not-run}``: a block of code that the tests do not run, which says why, to readers, too.

Every other block runs (`tests/test_docs.py`), so there should be very few of these.

Synopsis::

    ```{not-run} console
    :why: it would install coord

    $ pip install coord
    ```
"""

from __future__ import annotations

from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.directives.code import CodeBlock


class NotRun(CodeBlock):
    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {**CodeBlock.option_spec, "why": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        if not self.options.get("why"):
            raise self.error("not-run: say :why: it is not run")
        why = nodes.paragraph("", f"Not run by the tests: {self.options['why']}.", classes=["not-run"])
        return [*super().run(), why]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("not-run", NotRun)
    return {"parallel_read_safe": True}

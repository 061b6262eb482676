"""Names in the text become links where they can, and stay code where they cannot: never a warning.

Owns the role of single backticks in docstrings, what a name in the text means, and the public name of what
an annotation calls by its place in the code. Links come from what the reference documents, so a name that is
gone is code again.

Rules that hold here: a name is looked for as it is, then inside of the class and module the text belongs to,
then by its end (`Lock`, `Grant.token`); small words on their own (`path`, `data`) are never links outside of
their class.
"""

from __future__ import annotations

import re
from typing import Any, Final

from docutils import nodes
from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import ObjectEntry, PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxRole
from sphinx.util.nodes import make_refnode

SPOKEN: Final = {
    "zk": "coord.Client",
    "zk.session": "coord.LiveSession",
    "zk.janitor": "coord.Janitor",
    "transaction": "coord.Transaction",
    "grant": "recipes.Grant",
    "item": "recipes.Item",
    "lock": "recipes.Lock",
    "guard": "coord.Guard",
}
"""What the pages call an object of a class."""

OURS: Final = ("coord", "recipes")


class Name(SphinxRole):
    """Single backticks in a docstring."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        node = nodes.literal(self.rawtext, self.text)
        node["within"] = [
            self.env.ref_context.get("py:class"),
            self.env.ref_context.get("py:module"),
        ]
        return [node], []


class Links(SphinxPostTransform):
    """Makes references of the inline code that names something documented."""

    default_priority = 400
    builders = ("html",)

    def run(self, **kwargs: Any) -> None:
        names = Names(self.env)
        for node in list(self.document.findall(nodes.literal)):
            if isinstance(node.parent, nodes.reference | nodes.title | pending_xref):
                continue
            found = names.find(node.astext(), node.get("within") or [])
            if found is None or (found[1].docname == self.env.docname and not node.get("within")):
                continue
            name, entry = found
            link = nodes.reference("", "", internal=True, reftitle=name)
            link["refuri"] = self.app.builder.get_relative_uri(self.env.docname, entry.docname)
            link["refuri"] += f"#{entry.node_id}"
            node.replace_self(link)
            link += node


class Names:
    """What is documented, by its names."""

    def __init__(self, env: BuildEnvironment) -> None:
        domain = env.domains.python_domain
        assert isinstance(domain, PythonDomain)
        self.objects = domain.objects
        self.ends: dict[str, list[str]] = {}
        for name in self.objects:
            parts = name.split(".")
            for begin in range(1, len(parts)):
                self.ends.setdefault(".".join(parts[begin:]), []).append(name)

    def find(self, text: str, within: list[str | None]) -> tuple[str, ObjectEntry] | None:
        """The full name and its place, for the text of inline code."""
        name = re.sub(r"\(.*\)$", "", text.removeprefix("await "))
        if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
            return None
        for full in [name, *(f"{scope}.{name}" for scope in self._scopes(within))]:
            if full in self.objects and "." in full:
                return full, self.objects[full]
        head, _, tail = name.rpartition(".")
        if head in SPOKEN:
            full = f"{SPOKEN[head]}.{tail}"
            return (full, self.objects[full]) if full in self.objects else None
        return self.by_end(re.sub(rf"^({'|'.join(OURS)})\.", "", name))

    def by_end(self, name: str) -> tuple[str, ObjectEntry] | None:
        """Several documented names may end alike: coord's come before the rest, shorter before longer."""
        found = [one for one in self.ends.get(name, []) if self._stands_alone(one, name)]
        if not found:
            return None
        best = min(found, key=lambda one: (len(one.split(".")), one))
        return best, self.objects[best]

    def _stands_alone(self, full: str, name: str) -> bool:
        kind = self.objects[full].objtype
        if "." in name:
            return name[0].isupper()
        return (
            kind in ("class", "exception", "data")
            or (kind == "function" and "_" in name)
            or name == "connect"
        )

    def _scopes(self, within: list[str | None]) -> list[str]:
        cls, module = ([*within, None, None])[:2]
        scopes = [f"{module}.{cls}"] if cls and module else []
        scopes += [one for one in (cls, module) if one]
        return scopes


def find_public(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: Element) -> Element | None:
    """What signatures and base classes refer to: by public name if it is ours, plain text if it is not."""
    if node.get("refdomain") != "py":
        return None
    target = str(node["reftarget"])
    found = Names(env).by_end(target.rpartition(".")[2])
    if found is not None and (target.split(".")[0] in OURS or "." not in target):
        name, entry = found
        return make_refnode(app.builder, str(node["refdoc"]), entry.docname, entry.node_id, contnode, name)
    is_ours = (
        target.split(".")[0] in OURS and len(target.rpartition(".")[2]) > 1
    )  # one letter: a type variable
    return None if is_ours else contnode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_role("name", Name())
    app.add_post_transform(Links)
    app.connect("missing-reference", find_public)
    return {"parallel_read_safe": True}

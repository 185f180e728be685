"""How Sphinx makes a site of these pages: ``make docs``. The pages themselves are plain Markdown."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from natsconnector import __version__

project = "natsconnector"
author = "the natsconnector authors"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"natsconnector {version}"
html_show_sourcelink = False

# Names of headings in links are those that GitHub makes.
myst_heading_anchors = 4

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"

# Every reference has to lead somewhere, but for those to what is documented elsewhere, or is not part of the API.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(collections|enum|os|random|twisted|zope)\..*|Deferred|Random|IReactorTime"),
    ("py:.*", r"<InterfaceClass .*"),
    ("py:.*", r"CredentialsSource|NatsClient\.\w+|(natsconnector\.nats\.subscription\.)?Owner|Header"),
    ("py:.*", r"IGateway|Connector|ConfigurationError|natsconnector\.(nats\.messaging\.Messaging|model\.route\.Route)"),
    ("py:attr", r"\w+"),
    ("py:mod", r"natsconnector\.\w+"),
]


def _link_files(app: Any, name: str, source: list[str]) -> None:
    """Have links to Markdown files outside this folder lead to the files: they are no pages."""
    source[0] = re.sub(r"\]\((\.\./[\w/.-]+\.md)(?:#[\w-]+)?\)", r"](<path:\1>)", source[0])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    # The highlighter does not know the language of nats-server's configuration.
    app.add_lexer("conf", import_module("pygments.lexers").TextLexer)
    app.connect("source-read", _link_files)

"""Render a Cython template (.pyx.in) at build time.

The template sees ``ops``: the X-lists of include/tensorlib/scalar_*.h as
``{list name: [op names]}``, so that an op is named in one place only.
"""

import re
import sys
from pathlib import Path

from Cython import Tempita

HEADERS = Path(__file__).parents[2] / "include" / "tensorlib"


def x_lists(text):
    """Return every ``#define TL_NAME_OPS(X) X(a) X(b)`` of headers as a dict."""
    joined = text.replace("\\\n", " ")
    return {
        name: re.findall(r"\bX\((\w+)\)", body)
        for name, body in re.findall(r"#define (TL_\w+_OPS)\(X\)(.*)", joined)
    }


def main(source, target):
    """Write the rendering of `source` to `target`."""
    template = Tempita.Template.from_filename(source, encoding="utf-8")
    headers = sorted(HEADERS.glob("scalar_*.h"))
    text = "".join(header.read_text(encoding="utf-8") for header in headers)
    rendered = template.substitute(ops=x_lists(text))
    Path(target).write_text(rendered, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

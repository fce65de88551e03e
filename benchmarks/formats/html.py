"""Tables as one page that needs no network: they sort by a click, pictures are inside."""

import base64
from collections.abc import Iterable
from pathlib import Path

import jinja2

from benchmarks.figures import SectionPictures
from benchmarks.page import Table

TEMPLATES = Path(__file__).parents[1] / "templates"


def to_html(tables: Iterable[tuple[Table, SectionPictures | None]]) -> str:
    """The page.

    Args:
        tables: in their order, each with the pictures to put below it, if any.
    """
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["embed"] = _embed
    return environment.get_template("table.html").render(tables=list(tables))


def _embed(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")

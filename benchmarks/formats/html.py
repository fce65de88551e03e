"""Tables as one page that needs no network: they sort by a click, pictures are inside."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from benchmarks.page import Table

TEMPLATES = Path(__file__).parents[1] / "templates"


def to_html(tables: Sequence[Table], pictures: Mapping[str, Sequence[tuple[str, Path]]]) -> str:
    """The page.

    Args:
        tables: in their order.
        pictures: by the title of the table that they stand under: what each shows, and the png.
    """
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    shown = [
        (table, [(text, _embed(path)) for text, path in pictures.get(table.title, ())])
        for table in tables
    ]
    return environment.get_template("table.html").render(tables=shown)


def _embed(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")

"""A page in one file that needs no network: its template filled in, its pictures within."""

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image


def render(template: str, **values: Any) -> str:
    """A page of pages/, in which all that is filled in is escaped."""
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent / "pages"), autoescape=True,
                        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return pages.get_template(template).render(values)


def picture_source(file: bytes, kind: str = "png") -> str:
    """A picture's file as the address of an <img>, which then needs no other file."""
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The file of a picture: `png`, or `webp` …"""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()

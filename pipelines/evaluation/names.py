"""The names of classes and data sets are anybody's text; here they become such as file systems and MLflow take."""

import hashlib
import posixpath
import re

IN_METRICS, IN_MODELS = "/", "()&+,="  # what names of MLflow's metrics, and of registered models, may have as well
HASHED = re.compile(r"-x[0-9a-f]{10}$")


def safe(text: str, also: str = "") -> str:
    """The text as a part of a name. It stays as it is where it has nothing but letters, digits, `_-.`, spaces within,
    and the signs of `also`, and at most 100 bytes; else it is what is left of it and a hash, so that no two texts have
    one name."""
    known = r"\w\-. " + re.escape(also)
    if (re.fullmatch(f"[{known}]+", text) and text.strip() == text and len(text.encode()) <= 100
            and posixpath.normpath(f"x{text}") == f"x{text}" and not HASHED.search(text)):  # fmt: skip
        return text
    readable = re.sub(r"[^\w\-. ]+", "-", text)[:40].strip(" -.")
    return f"{readable}-x{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"

"""Read JSON from unknown sources; whatever is wrong with it, the error is a DatasetError."""

import json
from pathlib import Path
from typing import Any

from darkconv.dataset.paths import read_text
from darkconv.errors import DatasetError, Where

Json = Any
"""A value of JSON: a text, a number, a list, a dict with texts as keys, a boolean or None."""


def read_json(path: Path, *, most_bytes: int | None = None) -> Json:
    """Return the content of a JSON file.

    Args:
        path: the file, in UTF-8 or in the encoding of its byte order mark.
        most_bytes: the largest file that is read; None for any.

    Raises:
        DatasetError: the file cannot be read, is too large, or is not JSON.
    """
    where = Where(file=str(path))
    if most_bytes is not None and (size := path.stat().st_size) > most_bytes:
        raise DatasetError(where=where, expected=f"at most {most_bytes:,} bytes", found=f"{size:,}")
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DatasetError(f"is not well-formed JSON: {error}", where=where) from None
    except RecursionError:
        raise DatasetError("is JSON that is nested too deeply", where=where) from None
    except ValueError:  # Python reads integers of at most 4300 digits
        raise DatasetError("is JSON with a number of too many digits", where=where) from None

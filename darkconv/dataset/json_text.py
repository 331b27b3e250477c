"""JSON of strangers: what cannot be read is one error, whatever is wrong with it."""

import json
from pathlib import Path
from typing import Any

from darkconv.dataset.paths import read_text
from darkconv.errors import DatasetError, Where

Json = Any
"""A text, a number, a list, or a dict whose keys are texts."""


def read_json(path: Path, *, most_bytes: int | None = None) -> Json:
    """Return the content of a JSON file.

    Args:
        path: the file, in UTF-8 or what its byte order mark says.
        most_bytes: of a file; None for any.

    Raises:
        DatasetError: the file cannot be read, is too large, or is no JSON.
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
    except ValueError:  # Python reads no more than 4300
        raise DatasetError("is JSON with a number of too many digits", where=where) from None

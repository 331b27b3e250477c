"""The log of darkconv, whose messages repeat what files hold: they are made printable first."""

import logging

from darkconv.errors import printable

NOTE = 25
"""Level of what commands tell by default and Python only on request: what a job is about to do."""


class Printable(logging.Filter):
    """Write out what a terminal would obey and what no encoding can hold: see `printable`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the message of a record, and let it pass."""
        record.msg, record.args = printable(record.getMessage()), ()
        return True


logging.addLevelName(NOTE, "NOTE")
logging.getLogger("darkconv").addFilter(Printable())

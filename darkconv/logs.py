"""The log of darkconv, whose messages repeat what files hold: they are made printable first."""

import logging

from darkconv.errors import printable


class Printable(logging.Filter):
    """Write out what a terminal would obey and what no encoding can hold: see `printable`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the message of a record, and let it pass."""
        record.msg, record.args = printable(record.getMessage()), ()
        return True


logging.getLogger("darkconv").addFilter(Printable())

"""Set up darkconv's log, whose messages repeat texts of files and are made printable first."""

import logging

from darkconv.errors import printable

NOTE = 25
"""Level of messages that commands show by default and Python only on request."""


class Printable(logging.Filter):
    """A filter that writes out control characters and unencodable bytes: see `printable`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Make the message of a record printable, and return True to let it pass.

        Args:
            record: the record, which is changed.

        Returns:
            True.
        """
        record.msg, record.args = printable(record.getMessage()), ()
        return True


logging.addLevelName(NOTE, "NOTE")
logging.getLogger("darkconv").addFilter(Printable())

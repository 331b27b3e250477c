"""Sizes of files and of memory as texts."""


def format_size(size: float) -> str:
    """Format a number of bytes, such as `1.4 MB`; 1 MB is 10^6 bytes.

    Args:
        size: the number of bytes.
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.4g} TB"

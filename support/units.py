"""Amounts, for people."""


def readable_bytes(count: float) -> str:
    """Bytes in decimal units: ``150 B``, ``37 KB``, ``7.6 MB``, ``-1.2 KB``."""
    if count < 0:
        return f"-{readable_bytes(-count)}"
    if count < 1000:
        return f"{count:.0f} B"
    if count < 1e6:
        return f"{count / 1e3:.0f} KB" if count >= 1e4 else f"{count / 1e3:.1f} KB"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def readable_seconds(seconds: float) -> str:
    """Seconds as short as they say something: ``0.03 s``, ``5.8 s``, ``148 s``."""
    digits = 2 if seconds < 1 else 1 if seconds < 100 else 0
    return f"{seconds:.{digits}f} s"


def readable_position(seconds: float) -> str:
    """A place in a recording in minutes and whole seconds: ``1:05``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"

"""Logs on standard error: JSON lines, and plain lines on a terminal.

They hold no ids, tokens, addresses, key material or ciphertext.
"""

import json
import logging
import sys
import time

log = logging.getLogger("hushtune.service")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; what was given as ``extra={"fields": {...}}`` joins it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class LineFormatter(logging.Formatter):
    """The same as a line for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        when = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = " ".join(f"{k}={v}" for k, v in getattr(record, "fields", {}).items())
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        line = f"{when} {level}{record.getMessage()}  {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure_logs() -> None:
    """Send this package's and uvicorn's logs to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter() if sys.stderr.isatty() else JsonFormatter())
    for name in ("hushtune.service", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], False
        logger.setLevel(logging.INFO if name == "hushtune.service" else logging.WARNING)
    for name in ("hushtune.service", "uvicorn"):
        logging.getLogger(name).addHandler(handler)
    logging.getLogger("uvicorn.error").propagate = True
    logging.getLogger("uvicorn.access").disabled = True


def note(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Log an event with its fields."""
    log.log(level, event, extra={"fields": fields})

"""The errors a user can meet. Every one says what was wrong, what was expected, what to do."""

from enum import Enum


class HushtuneError(Exception):
    """Root of every error Hushtune raises on purpose; catch this one to catch them all."""


class ConfigError(HushtuneError):
    """A configuration file cannot be read, or one of its settings is not allowed."""


class AudioFault(str, Enum):
    """What is wrong with a clip or track, in a word or two for people."""

    MISSING = "missing"
    EMPTY = "empty"
    UNREADABLE = "unreadable"
    UNDECODABLE = "not decodable"
    WITHOUT_AUDIO = "without audio"
    NO_SOUND = "samples beyond full scale"
    TOO_SHORT = "too short"
    SILENT = "silent"
    REPEATED = "repeated"
    OTHER = "other"


class AudioError(HushtuneError):
    """A clip or track cannot be decoded, or holds nothing that could be identified.

    Args:
        message: what, expected what, what to do.
        fault: by which such tracks are counted.
    """

    def __init__(self, message: str, fault: AudioFault = AudioFault.OTHER):
        super().__init__(message)
        self.fault = fault

    def __reduce__(self) -> tuple[type["AudioError"], tuple[str, AudioFault]]:
        return type(self), (str(self), self.fault)


class CatalogueError(HushtuneError):
    """A catalogue is missing, empty, too small to split, or broken under ``strict: true``."""


class RunError(HushtuneError):
    """A run folder is missing, unfinished, or was made from another configuration."""


class CompileError(HushtuneError):
    """A network could not be compiled, or its FHE answers disagree with the clear ones."""


class ArrayFileError(HushtuneError):
    """An array file is missing, or holds another shape, type or number of values than it must."""


class ArtifactError(HushtuneError):
    """An artifact is missing a file, was changed after export, or is of another version."""


class KeyFileError(HushtuneError):
    """A key file cannot be read, belongs to another artifact, or would be overwritten."""


class ProtocolError(HushtuneError):
    """Bytes that should be a query, a response or evaluation keys are not."""


class ServiceError(HushtuneError):
    """A service cannot be started or reached, refuses a request, or failed to answer it."""

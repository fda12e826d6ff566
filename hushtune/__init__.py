"""Hushtune: name that tune without telling anyone what you hear.

The public names, loaded when first used (the FHE libraries take seconds to import):

- `Client`: makes keys, encrypts a clip, decrypts the answer;
- `Server`: computes on encrypted queries;
- `Recognizer`: both in one process, for trying an artifact out;
- `RemoteClient`, `AsyncRemoteClient`, `Progress`, `ServiceInfo`: a client of a service
  (`hushtune serve`);
- `Answer`, `Match`, `Song`, `QueryCosts`: what an identification gives;
- `load_config`, `train`, `export`: from a configuration to an artifact;
- `HushtuneError` and its kinds: every error raised on purpose.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors and type checkers; at run time `__getattr__` does the same
    from hushtune.client import AsyncRemoteClient as AsyncRemoteClient
    from hushtune.client import Progress as Progress
    from hushtune.client import RemoteClient as RemoteClient
    from hushtune.client import ServiceInfo as ServiceInfo
    from hushtune.configs.loading import load_config as load_config
    from hushtune.fhe.answer import Answer as Answer
    from hushtune.fhe.answer import Match as Match
    from hushtune.fhe.answer import Song as Song
    from hushtune.fhe.client import Client as Client
    from hushtune.fhe.costs import QueryCosts as QueryCosts
    from hushtune.fhe.export.artifact import export as export
    from hushtune.fhe.server import EvaluationKeys as EvaluationKeys
    from hushtune.fhe.server import Server as Server
    from hushtune.recognizer import Recognizer as Recognizer
    from hushtune.support.errors import ArtifactError as ArtifactError
    from hushtune.support.errors import AudioError as AudioError
    from hushtune.support.errors import CatalogueError as CatalogueError
    from hushtune.support.errors import CompileError as CompileError
    from hushtune.support.errors import ConfigError as ConfigError
    from hushtune.support.errors import HushtuneError as HushtuneError
    from hushtune.support.errors import KeyFileError as KeyFileError
    from hushtune.support.errors import ProtocolError as ProtocolError
    from hushtune.support.errors import RunError as RunError
    from hushtune.support.errors import ServiceError as ServiceError
    from hushtune.training.trainer import train as train

    __version__: str

_PUBLIC = {
    "Client": "hushtune.fhe.client",
    "Server": "hushtune.fhe.server",
    "EvaluationKeys": "hushtune.fhe.server",
    "Recognizer": "hushtune.recognizer",
    "RemoteClient": "hushtune.client",
    "AsyncRemoteClient": "hushtune.client",
    "Progress": "hushtune.client",
    "ServiceInfo": "hushtune.client",
    "Answer": "hushtune.fhe.answer",
    "QueryCosts": "hushtune.fhe.costs",
    "Match": "hushtune.fhe.answer",
    "Song": "hushtune.fhe.answer",
    "load_config": "hushtune.configs.loading",
    "train": "hushtune.training.trainer",
    "export": "hushtune.fhe.export.artifact",
    **dict.fromkeys(
        (
            "HushtuneError", "ArtifactError", "AudioError", "CatalogueError", "CompileError",
            "ConfigError", "KeyFileError", "ProtocolError", "RunError", "ServiceError",
        ),
        "hushtune.support.errors",
    ),
}  # fmt: skip
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("hushtune")
    raise AttributeError(f"module 'hushtune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC, "__version__"])

"""Hushtune: name that tune without telling anyone what you hear.

The public names, loaded when first used (the FHE libraries take seconds to import):

- `Client`: makes keys, encrypts a clip, decrypts the answer;
- `Server`: computes on encrypted queries;
- `Recognizer`: both in one process, for trying an artifact out;
- `RemoteClient`, `AsyncRemoteClient`, `Progress`: a client of a service (`hushtune serve`);
- `Answer`, `Match`, `Song`, `QueryCosts`: what an identification gives;
- `load_config`, `train`, `export`: from a configuration to an artifact;
- `HushtuneError` and its kinds: every error raised on purpose.
"""

from importlib import import_module
from importlib.metadata import version

__version__ = version("hushtune")

_PUBLIC = {
    "Client": "hushtune.fhe.client",
    "Server": "hushtune.fhe.server",
    "EvaluationKeys": "hushtune.fhe.server",
    "Recognizer": "hushtune.recognizer",
    "RemoteClient": "hushtune.client",
    "AsyncRemoteClient": "hushtune.client",
    "Progress": "hushtune.client",
    "Answer": "hushtune.fhe.answer",
    "QueryCosts": "hushtune.fhe.costs",
    "Match": "hushtune.fhe.answer",
    "Song": "hushtune.fhe.answer",
    "load_config": "hushtune.configs.loading",
    "train": "hushtune.training.trainer",
    "export": "hushtune.fhe.export.compile",
    "HushtuneError": "hushtune.support.errors",
    "ArtifactError": "hushtune.support.errors",
    "AudioError": "hushtune.support.errors",
    "CatalogueError": "hushtune.support.errors",
    "CompileError": "hushtune.support.errors",
    "ConfigError": "hushtune.support.errors",
    "KeyFileError": "hushtune.support.errors",
    "ProtocolError": "hushtune.support.errors",
    "RunError": "hushtune.support.errors",
    "ServiceError": "hushtune.support.errors",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'hushtune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])

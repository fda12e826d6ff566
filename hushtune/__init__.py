"""Hushtune: name that tune without telling anyone what you hear.

The public names, loaded when first used (the FHE libraries take seconds to import):

- `Client`: makes keys, encrypts a clip, decrypts the answer;
- `Server`: computes on encrypted queries;
- `Recognizer`: both in one process, for trying an artifact out;
- `RemoteClient`, `AsyncRemoteClient`, `Progress`: a client of a service (`hushtune serve`);
- `Answer`, `Match`, `Song`, `Costs`: what an identification gives;
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
    "RemoteClient": "hushtune.remote",
    "AsyncRemoteClient": "hushtune.remote",
    "Progress": "hushtune.remote",
    "Answer": "hushtune.fhe.answer",
    "Costs": "hushtune.fhe.answer",
    "Match": "hushtune.fhe.answer",
    "Song": "hushtune.fhe.answer",
    "load_config": "hushtune.configs.loading",
    "train": "hushtune.training.trainer",
    "export": "hushtune.fhe.compiling",
    "HushtuneError": "hushtune.configs.errors",
    "ArtifactError": "hushtune.configs.errors",
    "AudioError": "hushtune.configs.errors",
    "CatalogueError": "hushtune.configs.errors",
    "CompileError": "hushtune.configs.errors",
    "ConfigError": "hushtune.configs.errors",
    "KeyFileError": "hushtune.configs.errors",
    "ProtocolError": "hushtune.configs.errors",
    "RunError": "hushtune.configs.errors",
    "ServiceError": "hushtune.configs.errors",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'hushtune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])

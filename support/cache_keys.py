"""Names of files in the cache: whatever shapes a file's content is in its name.

A key is made of what the content is, a version to be raised when the code that makes it changes
its result, the versions of the libraries that compute it, and settings.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version

ANALYSIS = ("numpy", "scipy", "av", "soxr")
"""Libraries that decode, resample and analyse audio."""
AUGMENTATION = (*ANALYSIS, "torch", "torchaudio")
"""Those, and what augments it."""


def cache_key(what: str, revision: int, libraries: Sequence[str], *parts: object) -> str:
    """A name that changes with everything it is given: 32 hexadecimal digits.

    Args:
        what: the content is.
        revision: of the code that makes it; raise it when its result changes.
        libraries: distributions whose installed versions matter.
        parts: settings and digests, JSON-ready.
    """
    versions = {name: _version(name) for name in libraries}
    text = json.dumps([what, revision, versions, parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@lru_cache(maxsize=64)
def _version(name: str) -> str:
    return version(name)

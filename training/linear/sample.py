"""Which features are read, and what they are standardised by: learned from a sample of crops.

Both are settled once for a run. A song that is enrolled later is read in the same way.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...configs.schema import Config
from ...model.features import FrontEnd, make_front_end
from ...support.arrays import Array
from ...support.files import save_array
from ...support.parallel import parallel_map
from ...support.seeds import Stream
from ..data.track import Track
from ..data.views import track_views
from ..run import Run, RunFile
from .crops import CropDrawer
from .solve import telling_inputs

TRACKS = 256
"""The sample is of at most so many."""
CROPS = 24_000
"""Of all of them together, about."""
MEASURED = 6_000
"""So many show mean and deviation."""
AT_ONCE = 1024
RIDGE = 0.1
"""Penalty of the fit that shows which features tell songs apart."""


def choose_features(run: Run) -> None:
    """Settle a run's statistics and selected features, where it has none yet."""
    config, split = run.config, run.split()
    wanted = config.network.inputs
    if run.has(RunFile.STATISTICS) and (wanted is None or run.has(RunFile.SELECTED)):
        return
    rng = np.random.default_rng([config.seed, Stream.SAMPLED])
    known = [split.known[place] for place in rng.permutation(len(split.known))[:TRACKS].tolist()]
    left = max(0, TRACKS - len(known))
    others = list(split.known_unknowns[: max(left, TRACKS // 8)])
    tracks = [*known, *others]
    work = _Sample(config, run.cache, max(8, CROPS // len(tracks)))
    parts = parallel_map(work, tracks, title="Choosing features", workers=config.training.workers)
    features = np.concatenate([part for part, _ in parts])
    rows, first = [], 0
    for place, (_, mine) in enumerate(parts):
        rows.append(np.where(mine >= 0, mine + first, -1) if place < len(known) else 0 * mine - 1)
        first += int(mine.max()) + 1
    order = rng.permutation(len(features))
    analysed = make_front_end(config.signal, config.spectrum)
    statistics = analysed.measure(features[order[:MEASURED]])
    if wanted is not None and wanted < features[0].size:
        front_end = make_front_end(config.signal, config.spectrum, statistics)
        standard = _standardised(features, front_end)
        _, labels = np.unique(np.concatenate(rows), return_inverse=True)
        labels = labels - (min(map(np.min, rows)) < 0)  # -1 stays -1
        selected = telling_inputs(standard, labels, wanted, RIDGE)
        save_array(run.path(RunFile.SELECTED), selected)
    save_array(run.path(RunFile.STATISTICS), statistics)


def _standardised(features: Array, front_end: FrontEnd) -> Array:
    """Standardised features in half precision: [crops, features]."""
    result = np.empty((len(features), features[0].size), np.float16)
    for start in range(0, len(features), AT_ONCE):
        part = features[start : start + AT_ONCE].astype(np.float32)
        result[start : start + len(part)] = front_end.standardise(part).reshape(len(part), -1)
    return result


@dataclass(frozen=True)
class _Sample:
    config: Config
    cache: Path
    crops: int

    def __call__(self, track: Track) -> tuple[Array, Array]:
        """Features, float16 [crops, channels, bands, columns], and rows, -1 for negatives."""
        config = self.config
        views, _ = track_views(track, config, self.cache)
        rng = np.random.default_rng([config.seed, Stream.SAMPLED, int(views.digest[:8], 16)])
        front_end = make_front_end(config.signal, config.spectrum)
        draw = CropDrawer(config, self.cache, front_end)
        count = -(-self.crops // config.training.crops)
        chosen = rng.permutation(len(views.training))[:count].tolist()
        parts = [draw(views, views.training[place], rng) for place in sorted(chosen)]
        features = np.concatenate([*(p.features for p in parts), *(p.negatives for p in parts)])
        rows = np.concatenate([part.rows for part in parts])
        negatives = np.full(len(features) - len(rows), -1)
        return features.astype(np.float16), np.concatenate([rows, negatives])

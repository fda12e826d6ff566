"""What both networks of a fold predict in the clear, with all songs and with fewer."""

from collections.abc import Sequence

import numpy as np
import torch

from ...model.network import song_scores
from ...support.seeds import Stream
from ...training.calibration import calibrate
from ...training.run import Run
from ..metrics import ranked
from ..predictions import FLOAT, QUANTIZED, PredictionTable, Thresholds


def predict_networks(
    run: Run, table: PredictionTable, features: torch.Tensor, catalogue_sizes: Sequence[int]
) -> Thresholds:
    """Add both networks on all clips, and on sub-catalogues for the main test's clips.

    A sub-catalogue is a random choice of the songs: the other songs' scores are dropped and the
    open-set decision is calibrated again; nothing is trained again.

    Args:
        run: trained.
        table: the predictions go here.
        features: features of its clips, float [clips, channels, bands, columns].
        catalogue_sizes: of the sub-catalogues; those not smaller than the catalogue are left out.

    Returns:
        The quantized network's thresholds.
    """
    config, songs, crop = run.config, table.songs, run.config.signal.crop_seconds
    lengths = table.clips["seconds"].fillna(crop).to_numpy()
    main, truth = table.clips["main"].to_numpy(), table.clips["label"].to_numpy()
    for name in (FLOAT, QUANTIZED):
        quantized = name == QUANTIZED
        network, decisions = run.network(quantized=quantized), run.decisions(quantized=quantized)
        judged, reference = run.calibration(quantized=quantized)
        mine_length = judged.seconds == judged.seconds.max()
        labels, reference = judged.labels[mine_length], reference[mine_length]
        scores = song_scores(network, run.rows(), features)
        unknown = reference[labels == songs]
        thresholds = Thresholds.of(decisions.at(crop).score(unknown), config)
        table.add(name, ranked(scores), decisions.score(scores, lengths), thresholds)
        for size in catalogue_sizes:
            if size >= songs:
                continue
            rng = np.random.default_rng(
                [config.seed, Stream.CATALOGUE_SIZES, config.fold_number, size]
            )
            kept = np.sort(rng.choice(songs, size, replace=False))
            columns = np.append(kept, songs)
            inside = np.isin(labels, columns)
            mine = np.searchsorted(columns, labels[inside])
            part = reference[inside][:, columns]
            smaller = calibrate(part, mine, config.training.false_alarm_rate)
            places = np.flatnonzero(main & np.isin(truth, columns))
            some = scores[places][:, columns]
            table.add(
                name,
                kept[ranked(some)],
                smaller.score(some),
                Thresholds.of(smaller.score(part[mine == size]), config),
                places=places,
                songs=size,
            )
    return thresholds  # of the last one

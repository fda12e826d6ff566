"""What both networks of a fold predict in the clear, with all songs and with fewer."""

from collections.abc import Sequence

import numpy as np
import torch

from ...model.network import network_logits
from ...support.seeds import Stream
from ...training.calibration import calibrate
from ...training.run import Run
from ..metrics import ranked
from ..predictions import FLOAT, QUANTIZED, PredictionTable, Thresholds


def predict_networks(
    run: Run, table: PredictionTable, features: torch.Tensor, catalogue_sizes: Sequence[int]
) -> Thresholds:
    """Add both networks on all clips, and on sub-catalogues for the main test's clips.

    A sub-catalogue is a random choice of the songs: the other songs' logits are dropped and the
    open-set decision is calibrated again; nothing is trained again.

    Args:
        run: trained.
        table: the predictions go here.
        features: features of its clips, float [clips, channels, bands, columns].
        catalogue_sizes: of the sub-catalogues; those not smaller than the catalogue are left out.

    Returns:
        The quantized network's thresholds.
    """
    config, songs = run.config, table.songs
    main, truth = table.clips["main"].to_numpy(), table.clips["label"].to_numpy()
    for name in (FLOAT, QUANTIZED):
        quantized = name == QUANTIZED
        network, decision = run.network(quantized=quantized), run.decision(quantized=quantized)
        labels, reference = run.calibration(quantized=quantized)
        logits = network_logits(network, features)
        thresholds = Thresholds.of(decision.score(reference[labels == songs]), config)
        table.add(name, ranked(logits), decision.score(logits), thresholds)
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
            some = logits[places][:, columns]
            table.add(
                name,
                kept[ranked(some)],
                smaller.score(some),
                Thresholds.of(smaller.score(part[mine == size]), config),
                places=places,
                songs=size,
            )
    return thresholds  # of the last one

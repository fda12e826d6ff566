"""Accuracy of a trained run on test clips: the floating-point twin beside the quantized network."""

from typing import Any

from ..model.network import song_scores
from ..training.data.clips import clip_images, list_test_clips
from ..training.run import Run
from .metrics import summary


def evaluate_run(run: Run) -> dict[str, Any]:
    """Measure both networks of a run on its test clips and write ``result.json``.

    Returns:
        ``{"conditions": ..., "float": measures, "quantized": measures}``, see
        `hushtune.eval.metrics.summary`.
    """
    config = run.config
    clips = clip_images(
        list_test_clips(config, run.split()),
        config,
        run.front_end(),
        workers=config.training.workers,
    )
    split = run.split()
    result: dict[str, Any] = {
        "conditions": {
            "known_songs": len(split.known),
            "unknown_songs": len(split.unknown_test),
            "clip_seconds": config.signal.crop_seconds,
            "snr_db": list(config.augment.test_snr_db),
            "sounds": "noise recordings and impulse responses never used in training",
        }
    }
    for name in ("float", "quantized"):
        quantized = name == "quantized"
        scores = song_scores(run.network(quantized=quantized), run.rows(), clips.images)
        result[name] = summary(
            scores, clips.labels.numpy(), clips.snr_db, run.decision(quantized=quantized)
        )
    run.write_json("result.json", result)
    return result

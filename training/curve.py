"""Pictures of a training: the learning curve."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def draw_learning_curve(metrics: Path, picture: Path) -> None:
    """Loss and accuracy against steps, the quantized network after its floating-point twin.

    Args:
        metrics: the run's ``metrics.jsonl``.
        picture: PNG to write.
    """
    lines = [json.loads(text) for text in metrics.read_text("utf-8").splitlines()]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    offset = 0
    styles = {"float": ("floating-point twin", "tab:blue"), "quantized": ("quantized", "tab:red")}
    for phase, (name, colour) in styles.items():
        mine = [line for line in lines if line["phase"] == phase]
        if not mine:
            continue
        stepped = [line for line in mine if "loss" in line]  # a closed-form fit has no steps
        steps = [offset + line["step"] for line in stepped]
        left.plot(steps, [line["loss"] for line in stepped], color=colour, label=name)
        right.plot(
            steps,
            [100 * line["accuracy"] for line in stepped],
            color=colour,
            alpha=0.35,
            label=f"{name}, training clips" if stepped else None,
        )
        checked = [line for line in mine if "validation_top1_closed" in line]
        right.plot(
            [offset + line["step"] for line in checked],
            [100 * line["validation_top1_closed"] for line in checked],
            color=colour,
            marker="o",
            label=f"{name}, validation clips (closed set)",
        )
        offset += mine[-1]["step"]
    left.set(xlabel="optimiser step", ylabel="loss", title="Loss")
    right.set(xlabel="optimiser step", ylabel="right (%)", title="Accuracy", ylim=(0, 101))
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def draw_encoder_curve(metrics: Path, picture: Path) -> None:
    """Loss of an encoder, and the share of clips whose row is the nearest, against steps.

    Args:
        metrics: the run's ``metrics.jsonl``.
        picture: PNG to write.
    """
    lines = [json.loads(text) for text in metrics.read_text("utf-8").splitlines()]
    steps = [line["step"] for line in lines]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(steps, [line["loss"] for line in lines], color="tab:blue")
    right.plot(steps, [100 * line["accuracy"] for line in lines], color="tab:blue")
    left.set(xlabel="optimiser step", ylabel="loss", title="Loss")
    right.set(
        xlabel="optimiser step",
        ylabel="clips (%)",
        title="Own row is the nearest of the step's",
        ylim=(0, 101),
    )
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.savefig(picture, dpi=110)
    plt.close(figure)

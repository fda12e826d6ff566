"""From a catalogue to a trained network: tracks, split, augmentation, training."""

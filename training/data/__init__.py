"""From a catalogue to features: tracks, split, augmentation, renderings, clips."""

"""Training the encoder: music and its renderings, pairs of clip and song, the loop."""

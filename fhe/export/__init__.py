"""Compiling a trained network and exporting an artifact. Neither client nor server needs it."""

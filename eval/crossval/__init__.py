"""Cross-validation: folds, their clips, their results."""

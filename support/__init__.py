"""What every room uses: errors, units, files, progress, timing, seeds. Imports no other room."""

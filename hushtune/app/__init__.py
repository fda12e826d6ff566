"""The local page: records or takes a file, and shows what happens to it."""

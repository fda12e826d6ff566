"""The report: its schema, tables, plots and comparisons."""

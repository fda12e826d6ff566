"""Measures of identification and rejection, and pictures of a query."""

"""Measures of identification and rejection, and the clips they are taken on."""

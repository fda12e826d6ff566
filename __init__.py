"""Not shipped: it only lets editors follow the relative imports between the rooms."""

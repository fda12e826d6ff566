"""Networks without hidden layers: fitted in closed form, from sums over the crops of all tracks."""

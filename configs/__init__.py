"""Everything a user sets: the shipped YAML files and the typed models they are read into."""

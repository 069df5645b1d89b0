"""A run: its parameters, where its files are, training it on Ray's workers, and MLflow, which follows it."""

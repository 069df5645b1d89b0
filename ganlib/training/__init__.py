"""The loop and what it needs: state, workers, precision, moving average."""

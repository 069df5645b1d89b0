"""The workflow around ganlib: one verb a file. The only code that knows Ray, MLflow, DVC and Hydra."""

import os

# Before Ray and MLflow are imported, which read these then. What the user has set wins.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
# A store that does not answer may hold up training for seconds, not for MLflow's 120 s times 8 tries.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

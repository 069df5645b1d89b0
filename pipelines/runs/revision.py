"""Which code a run came from."""

import subprocess

CODE = ("ganlib", "pipelines", "conf", "params.yaml", "dvc.yaml")  # an edit of these makes a revision dirty


def git_revision() -> str:
    """The commit, with "-dirty" behind it if code or configuration was edited since; "unknown" outside a checkout."""
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", *CODE) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"

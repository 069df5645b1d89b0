"""Features → statistics → number."""

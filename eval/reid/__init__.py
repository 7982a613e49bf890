"""Re-identification: which tokens find the same object again."""

"""Training of the promptable mask head."""

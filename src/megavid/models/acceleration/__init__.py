"""What makes inference fast."""

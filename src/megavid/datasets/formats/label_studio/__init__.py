"""Read exports of Label Studio for videos, and write tasks for it."""

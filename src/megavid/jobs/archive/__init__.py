"""Detection in archives: many videos, shared out in segments among workers, with results in one folder."""

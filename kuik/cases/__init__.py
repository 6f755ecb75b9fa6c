"""Cases that prove what policies do: kept beside them in git, run by `kuik policy test` and by this project's tests."""

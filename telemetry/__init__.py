"""How a process tells of itself: a listener apart for probes and metrics, health, and log lines. It knows no room."""

"""The version of kuik, which every component tells."""

VERSION = "0.1.0"

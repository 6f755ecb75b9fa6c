"""The decisions: pure stages that Metacontroller calls, and the admission webhook."""

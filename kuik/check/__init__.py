"""Whether workloads could start with every upstream registry down."""

"""The Kubernetes side: object types, CRD schemas, the API client."""

"""The programs of the house, one folder each; they meet over gRPC and never import each other."""

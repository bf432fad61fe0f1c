"""The gateway: the public job API, and the loop that keeps jobs going.

The truth about a job is in the object store; the gateway only writes specs and wishes there, reads how
jobs stand, and sends again what was lost. It can be killed at any moment and started again.
"""

"""The workers: they carry analysis jobs out, chunk by chunk.

`app`, `tasks`, `attempts`, `runtime` and `context` move the work; `analyses` says what the work is,
`clients` speaks with the services, `measures` looks at pictures, `report` writes the page. NumPy-level
code only: no torch, no model, no import of a service.
"""

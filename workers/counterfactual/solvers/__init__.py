"""The smallest shift of one row's features beyond planes, exactly: pure functions of arrays.

`nearest` says which problem is meant and hands it on: L2 to `closest`, L2 with plausibility to `usual` (by
`pivoting`), L1 to `sparse`; `interior` solves the quadratic programmes that are left.
"""

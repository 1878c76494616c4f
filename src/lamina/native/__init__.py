"""Kernels in C++ that train plain networks on a CPU: the library that holds them, and how a program calls them.

The sources lie beside this file; `pip install` builds them where there is a compiler. `library` loads what was built,
`plan` says what a kernel is told about a network.
"""

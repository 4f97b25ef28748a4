"""Witnessing (C2SP tlog-witness v1.0.0), both sides. Pure apart from its own files and sockets: no Django.

| module | side | what |
|---|---|---|
| protocol | both | the request's bytes |
| core | witness | bytes in, answer out: what may be cosigned |
| store | witness | the last cosigned checkpoint of each log, in files |
| server | witness | HTTP around the core |
| `__main__` | witness | `python -m ledger.witness` |
| policy | log | which witnesses are asked, how many must agree |
| client | log | asks one witness, says what its answer means |
"""

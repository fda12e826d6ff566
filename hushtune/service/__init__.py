"""The recognizer as a network service: ``hushtune serve ARTIFACT``.

```
serving.py     settings -> a running server, its signals, its end
connections.py sockets: how many, how long, how much
middleware.py  request ids, logs, counts, headers
api/           the HTTP endpoints            clients.py    who asks; addresses
bodies.py      bodies, streamed with limits  tokens.py     tokens of clients
queries.py     from a ciphertext to a response
queue.py       jobs that wait for a worker
workers.py     the processes that compute    worker.py     such a process
layout.py      which bytes may reach Concrete
store.py       keys, queries, responses      database.py   SQLite; records.py what it holds
instance.py    server processes that share a store
logs.py        log lines                     metrics.py    for Prometheus
```
"""

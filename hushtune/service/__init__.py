"""The recognizer as a network service: ``hushtune serve ARTIFACT``.

```
serving.py    settings -> a running server, its signals, its end
app.py        the HTTP endpoints             models.py    what they answer
uploads.py    bodies, streamed with limits   tokens.py    who asks
middleware.py request ids, logs, counts      logs.py      JSON lines
handlers.py   errors in the service's form
queries.py    from a ciphertext to a response
workers.py    the processes that compute     worker.py    such a process
layout.py     which bytes may reach Concrete
store.py      SQLite and files               instance.py  server processes that share them
```
"""

"""The HTTP side: one ASGI app, one file a surface. The bench calls this very app in-process.

`app.py` finds the route, `chat.py` and `models.py` are surfaces, `errors.py` says what went wrong in OpenAI's words,
`asgi.py` holds the few ASGI moves that all of them make, `serve.py` puts the app behind a socket.
"""

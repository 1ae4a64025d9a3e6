"""gunicorn's configuration for gunicorn_app: workers that end after a few requests. RECYCLED is a file to
which each worker that ends adds a byte."""
import os

bind = "127.0.0.1:0"
workers = 4
max_requests = 20
max_requests_jitter = 5
loglevel = "info"
wsgi_app = "gunicorn_app:app"


def post_fork(server, worker):
    import gunicorn_app
    gunicorn_app.begin()


def worker_exit(server, worker):
    with open(os.environ["RECYCLED"], "ab") as file:
        file.write(b".")

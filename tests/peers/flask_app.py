"""A Flask application as one would write it, that counts its requests with the Python client."""
import flask

import dwell
import patient  # noqa: F401  (a worker has as long for its end as it takes)

app = flask.Flask(__name__)


@app.get("/items/<int:item>")
def get_item(item):
    return {"item": item}


@app.get("/fail")
def fail():
    raise RuntimeError("as it should")


dwell.instrument_app(app, "shop")

"""A FastAPI application as one would write it, that counts its requests with the Python client."""
import asyncio

import fastapi
from fastapi.responses import StreamingResponse

import dwell
import patient  # noqa: F401  (a worker has as long for its end as it takes)

app = fastapi.FastAPI()
orders = fastapi.APIRouter(prefix="/orders")
inner = fastapi.FastAPI()


@app.get("/")
async def root():
    return {"ok": True}


@app.get("/items/{item_id}")
def item(item_id: int):  # in a thread of the pool
    if item_id == 404:
        raise fastapi.HTTPException(404)
    return {"item": item_id}


@app.get("/fail")
async def fail():
    raise RuntimeError("as it should")


@app.get("/stream")
async def stream():
    async def parts():
        for number in range(3):
            await asyncio.sleep(0)
            yield f"{number}\n"
    return StreamingResponse(parts())


@orders.post("/{order}")
@dwell.track_message_processing("order", priority="high")
async def order(order: str):
    return {"order": order}


@inner.get("/{name}")
async def inside(name: str):
    return {"name": name}


app.include_router(orders)
app.mount("/inner", inner)
app.get("/metrics")(dwell.create_metrics_endpoint())
dwell.instrument_app(app, "shop")

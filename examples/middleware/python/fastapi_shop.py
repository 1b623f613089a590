"""A shop by FastAPI, on 127.0.0.1:PORT and the database that libpq's variables name."""
import os
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from asgi_idempotency import Idempotency


def tenant(request):  # here belongs a check of the token
    return request.headers.get("authorization", "").removeprefix("Bearer ")


app = FastAPI()
pool = AsyncConnectionPool(min_size=1, max_size=8, timeout=5, open=False)
app.add_event_handler("startup", pool.open)
app.add_event_handler("shutdown", pool.close)
app.add_middleware(Idempotency, pool=pool, tenant=tenant, policy="/.well-known/idempotency")


@app.post("/orders", status_code=201)
async def place(order: dict, request: Request):
    placed = await request.state.db.execute("SELECT id, sold_out FROM place_order(%s, %s)",
                                            [tenant(request), Jsonb(order["items"])])
    number, sold_out = await placed.fetchone()
    if sold_out:
        return JSONResponse({"error": f"{sold_out} is sold out"}, 409)
    return JSONResponse({"order": number, "items": order["items"]}, 201, {"Location": f"/orders/{number}"})


@app.get("/.well-known/idempotency")
async def policy():
    async with pool.connection() as db:
        return (await (await db.execute("SELECT idempotency_policy()")).fetchone())[0]


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")

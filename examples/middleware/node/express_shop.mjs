// A shop by Express, on 127.0.0.1:PORT and the database that libpq's variables name.
import express from 'express'
import pg from 'pg'
import { failed, idempotency } from './idempotency.mjs'

const pool = new pg.Pool({ max: 8, connectionTimeoutMillis: 5000 })
// a connection that breaks is an event, too, which ends the process if nobody listens
pool.on('error', () => {})
pool.on('connect', client => client.on('error', () => {}))

// here belongs a check of the token
const tenant = req => req.get('Authorization')?.replace('Bearer ', '')

const app = express()
app.use(express.raw({ type: () => true }))
app.use(idempotency({ pool, tenant, policy: '/.well-known/idempotency' }))

app.post('/orders', async (req, res) => {
  const { items } = JSON.parse(req.body)
  const { rows: [{ id, sold_out: missing }] } = await req.db.query(
    'SELECT id, sold_out FROM place_order($1, $2)', [tenant(req), JSON.stringify(items)])
  if (missing) return res.status(409).json({ error: `${missing} is sold out` })
  res.status(201).location(`/orders/${id}`).json({ order: Number(id), items })
})
app.get('/.well-known/idempotency', async (req, res) => {
  const { rows: [{ policy }] } = await pool.query('SELECT idempotency_policy() AS policy')
  res.json(policy)
})
app.use(failed)
app.listen(process.env.PORT, '127.0.0.1')

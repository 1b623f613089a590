// Orders by node-postgres.
import pg from 'pg'
import { sendRequests } from './requests.mjs'

const pool = new pg.Pool()
// a connection that breaks is an event, too, which ends the process if nobody listens
pool.on('error', () => {})
pool.on('connect', client => client.on('error', () => {}))

async function place (client, reference, name) {
  let { rows: [customer] } = await client.query('SELECT id FROM customer WHERE name = $1', [name])
  if (!customer) {
    ({ rows: [customer] } = await client.query(
      'INSERT INTO customer (name) VALUES ($1) RETURNING id', [name]))
  }
  const { rows: [{ id }] } = await client.query(
    'INSERT INTO orders (reference, customer_id) VALUES ($1, $2) RETURNING id',
    [reference, customer.id])
  await client.query(
    "INSERT INTO line (order_id, product, quantity) VALUES ($1, 'bolt', 1), ($1, 'nut', 1)", [id])
  const { rows: [{ stock }] } = await client.query(
    "UPDATE product SET stock = stock - 1 WHERE name = 'bolt' RETURNING stock")
  return { order: id, stock }
}

await sendRequests(async (key, ...values) => {
  const client = await pool.connect()
  let broken
  try {
    await client.query('BEGIN')
    await client.query('SELECT idem_begin($1)', [key])
    const answer = await place(client, ...values)
    await client.query('COMMIT')
    return answer
  } catch (error) {
    broken = await client.query('ROLLBACK').then(() => false, () => true)
    throw error
  } finally {
    client.release(broken)
  }
}, error => !(error instanceof pg.DatabaseError) || /^08/.test(error.code))
await pool.end()

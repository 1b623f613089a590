// The shop by node-postgres.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { expect } from './expect.mjs'

const pool = new pg.Pool()
// a connection that breaks is an event, too, which ends the process if nobody listens
pool.on('error', () => {})
pool.on('connect', client => client.on('error', () => {}))

// Runs work(client) in a transaction.
async function transaction (work) {
  const client = await pool.connect()
  let broken
  try {
    await client.query('BEGIN')
    const answer = await work(client)
    await client.query('COMMIT')
    return answer
  } catch (error) {
    broken = await client.query('ROLLBACK').then(() => false, () => true)
    throw error
  } finally {
    client.release(broken)
  }
}

const place = (key, order, lose) => transaction(async client => {
  if (lose) await client.query('SET LOCAL idem.lose_ack = 1')
  const { rows } = await client.query("SELECT * FROM idem_upsert($1, 'orders', $2)", [key, order])
  return rows[0]
})

const key = randomUUID()
const order = { customer: 'node-pg', total: 440 }
await place(key, order, true).then(
  () => expect(false, 'nothing was lost'),
  error => console.log('lost: %s %s', error.message, error.code))
const placed = await place(key, order)
expect(placed.outcome === 'inserted' && placed.replayed, 'placed: inserted, replayed')

const { id, version } = placed.result
const { rows: [moved] } = await pool.query(
  "SELECT * FROM order_transition('orders', $1, $2, expected_version => $3, key => $4)",
  [id, 'PROCESSING', version, `${key}/PROCESSING`])
// a bigint of a column of its own is a string in node-postgres
expect(moved.outcome === 'applied' && moved.version === '2',
  `moved order: ${moved.from_state} -> ${moved.to_state}, version ${moved.version}`)

const parcel = randomUUID()
await pool.query('INSERT INTO parcels VALUES ($1, $2)', [parcel, 'node-pg'])
const { rows: [sent] } = await pool.query(
  "SELECT * FROM order_transition('parcels', $1, $2)", [parcel, 'PROCESSING'])
expect(sent.version === '2',
  `moved parcel: ${sent.from_state} -> ${sent.to_state}, version ${sent.version}`)

const messages = [`${key}/1`, `${key}/2`, `${key}/1`]
const consume = () => pool.query("SELECT * FROM idem_consume_batch('node-pg', $1)", [messages])
const counts = [(await consume()).rowCount, (await consume()).rowCount]
expect(counts.join() === '2,0', `consumed: ${counts[0]}, then ${counts[1]}`)

await pool.query("SELECT * FROM order_transition('orders', $1, $2)", [id, 'DELIVERED']).then(
  () => expect(false, 'not refused'),
  error => expect(error.code === 'ID201', `refused: ${error.code} (${error.constructor.name}.code)`))
await pool.end()

// The shop by postgres.js.
import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { expect } from './expect.mjs'

const sql = postgres()

const place = (key, order, lose) => sql.begin(async sql => {
  if (lose) await sql`SET LOCAL idem.lose_ack = 1`
  const [placed] = await sql`SELECT * FROM idem_upsert(${key}, 'orders', ${order})`
  return placed
})

const key = randomUUID()
const order = { customer: 'postgres.js', total: 440 }
await place(key, order, true).then(
  () => expect(false, 'nothing was lost'),
  error => console.log('lost: %s %s', error.message, error.code))
const placed = await place(key, order)
expect(placed.outcome === 'inserted' && placed.replayed, 'placed: inserted, replayed')

const { id, version } = placed.result
const [moved] = await sql`
  SELECT * FROM order_transition('orders', ${id}, ${'PROCESSING'},
    expected_version => ${version}, key => ${key + '/PROCESSING'})`
// a bigint of a column of its own is a string in postgres.js
expect(moved.outcome === 'applied' && moved.version === '2',
  `moved order: ${moved.from_state} -> ${moved.to_state}, version ${moved.version}`)

const parcel = randomUUID()
await sql`INSERT INTO parcels ${sql({ id: parcel, customer: 'postgres.js' })}`
const [sent] = await sql`SELECT * FROM order_transition('parcels', ${parcel}, ${'PROCESSING'})`
expect(sent.version === '2',
  `moved parcel: ${sent.from_state} -> ${sent.to_state}, version ${sent.version}`)

const messages = [`${key}/1`, `${key}/2`, `${key}/1`]
const consume = () => sql`SELECT * FROM idem_consume_batch('postgres.js', ${messages})`
const counts = [(await consume()).length, (await consume()).length]
expect(counts.join() === '2,0', `consumed: ${counts[0]}, then ${counts[1]}`)

await sql`SELECT * FROM order_transition('orders', ${id}, ${'DELIVERED'})`.then(
  () => expect(false, 'not refused'),
  error => expect(error.code === 'ID201', `refused: ${error.code} (${error.name}.code)`))
// without a limit it waits for the connection that was lost
await sql.end({ timeout: 1 })

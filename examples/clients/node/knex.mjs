// The shop by knex.
import { randomUUID } from 'node:crypto'
import Knex from 'knex'
import { expect } from './expect.mjs'

const knex = Knex({ client: 'pg', connection: {} }) // the rest by PGHOST and so on

const place = (key, order, lose) => knex.transaction(async trx => {
  if (lose) await trx.raw('SET LOCAL idem.lose_ack = 1')
  const { rows } = await trx.raw("SELECT * FROM idem_upsert(?, 'orders', ?)", [key, order])
  return rows[0]
})

const key = randomUUID()
const order = { customer: 'knex', total: 440 }
await place(key, order, true).then(
  () => expect(false, 'nothing was lost'),
  error => console.log('lost: %s %s', error.message, error.code))
const placed = await place(key, order)
expect(placed.outcome === 'inserted' && placed.replayed, 'placed: inserted, replayed')

const { id, version } = placed.result
const { rows: [moved] } = await knex.raw(
  "SELECT * FROM order_transition('orders', ?, ?, expected_version => ?, key => ?)",
  [id, 'PROCESSING', version, `${key}/PROCESSING`])
expect(moved.outcome === 'applied' && moved.version === '2',
  `moved order: ${moved.from_state} -> ${moved.to_state}, version ${moved.version}`)

const parcel = randomUUID()
await knex('parcels').insert({ id: parcel, customer: 'knex' })
// the query builder takes a call where it takes a table
const sent = await knex.first('*').from(
  knex.raw("order_transition('parcels', ?, ?)", [parcel, 'PROCESSING']))
expect(sent.version === '2',
  `moved parcel: ${sent.from_state} -> ${sent.to_state}, version ${sent.version}`)

// an array is one value only inside another: the outer one is the list of values
const messages = [`${key}/1`, `${key}/2`, `${key}/1`]
const consume = () => knex.raw("SELECT * FROM idem_consume_batch('knex', ?)", [messages])
const counts = [(await consume()).rowCount, (await consume()).rowCount]
expect(counts.join() === '2,0', `consumed: ${counts[0]}, then ${counts[1]}`)

await knex.raw("SELECT * FROM order_transition('orders', ?, ?)", [id, 'DELIVERED']).then(
  () => expect(false, 'not refused'),
  error => expect(error.code === 'ID201', `refused: ${error.code} (${error.constructor.name}.code)`))
await knex.destroy()

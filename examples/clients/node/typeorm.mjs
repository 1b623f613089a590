// The shop by TypeORM.
import 'reflect-metadata'
import { randomUUID } from 'node:crypto'
import { DataSource, EntitySchema } from 'typeorm'
import { expect } from './expect.mjs'

const Order = new EntitySchema({
  name: 'Order',
  tableName: 'orders',
  columns: {
    id: { type: 'bigint', primary: true, generated: 'identity' },
    customer: { type: 'text' },
    total: { type: 'numeric', precision: 10, scale: 2 },
    status: {
      type: 'enum',
      enum: ['PENDING', 'PROCESSING', 'SHIPPED', 'DELIVERED'],
      enumName: 'order_status',
      default: 'PENDING',
      update: false // a call moves it
    },
    version: { type: 'bigint', default: 1, update: false } // the trigger raises it
  }
})

const { PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE } = process.env
const source = await new DataSource({
  type: 'postgres',
  host: PGHOST,
  port: PGPORT && Number(PGPORT),
  username: PGUSER,
  password: PGPASSWORD,
  database: PGDATABASE,
  entities: [Order],
  poolErrorHandler: () => {} // a connection that breaks is an event, too
}).initialize()

const place = (key, order, lose) => source.transaction(async manager => {
  if (lose) await manager.query('SET LOCAL idem.lose_ack = 1')
  const [placed] = await manager.query("SELECT * FROM idem_upsert($1, 'orders', $2)", [key, order])
  return placed
})

const key = randomUUID()
const order = { customer: 'typeorm', total: 440 }
await place(key, order, true).then(
  () => expect(false, 'nothing was lost'),
  error => console.log('lost: %s %s', error.message, error.code))
const placed = await place(key, order)
expect(placed.outcome === 'inserted' && placed.replayed, 'placed: inserted, replayed')

const { id, version } = placed.result
const [moved] = await source.query(
  "SELECT * FROM order_transition('orders', $1, $2, expected_version => $3, key => $4)",
  [id, 'PROCESSING', version, `${key}/PROCESSING`])
expect(moved.outcome === 'applied' && moved.version === '2',
  `moved order: ${moved.from_state} -> ${moved.to_state}, version ${moved.version}`)
// an entity that was read before a call has to be read again: TypeORM keeps no identity map
const mine = await source.getRepository(Order).findOneByOrFail({ id })
expect(mine.status === 'PROCESSING' && mine.version === '2',
  `read: ${mine.status}, version ${mine.version}`)

const parcel = randomUUID()
await source.query('INSERT INTO parcels VALUES ($1, $2)', [parcel, 'typeorm'])
const [sent] = await source.query(
  "SELECT * FROM order_transition('parcels', $1, $2)", [parcel, 'PROCESSING'])
expect(sent.version === '2',
  `moved parcel: ${sent.from_state} -> ${sent.to_state}, version ${sent.version}`)

const messages = [`${key}/1`, `${key}/2`, `${key}/1`]
const consume = () => source.query("SELECT * FROM idem_consume_batch('typeorm', $1)", [messages])
const counts = [(await consume()).length, (await consume()).length]
expect(counts.join() === '2,0', `consumed: ${counts[0]}, then ${counts[1]}`)

await source.query("SELECT * FROM order_transition('orders', $1, $2)", [id, 'DELIVERED']).then(
  () => expect(false, 'not refused'),
  error => expect(error.code === 'ID201', `refused: ${error.code} (${error.constructor.name}.code)`))
await source.destroy()

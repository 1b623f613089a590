// The shop by Sequelize.
import { randomUUID } from 'node:crypto'
import { DataTypes, QueryTypes, Sequelize } from 'sequelize'
import { expect } from './expect.mjs'

const { PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE } = process.env
const sequelize = new Sequelize(PGDATABASE, PGUSER, PGPASSWORD, {
  dialect: 'postgres', host: PGHOST, port: PGPORT, logging: false
})
const Order = sequelize.define('Order', {
  id: { type: DataTypes.BIGINT, primaryKey: true, autoIncrement: true },
  customer: DataTypes.TEXT,
  total: DataTypes.DECIMAL(10, 2),
  status: DataTypes.TEXT,
  version: DataTypes.BIGINT
}, { tableName: 'orders', timestamps: false })

// Runs a call, and returns its rows.
const call = (query, bind, transaction) =>
  sequelize.query(query, { bind, transaction, type: QueryTypes.SELECT })

const place = (key, order, lose) => sequelize.transaction(async transaction => {
  if (lose) await sequelize.query('SET LOCAL idem.lose_ack = 1', { transaction })
  const [placed] = await call(
    "SELECT * FROM idem_upsert($1, 'orders', $2)", [key, order], transaction)
  return placed
})

const key = randomUUID()
const order = { customer: 'sequelize', total: 440 }
await place(key, order, true).then(
  () => expect(false, 'nothing was lost'),
  error => console.log('lost: %s %s', error.message, error.original?.code))
const placed = await place(key, order)
expect(placed.outcome === 'inserted' && placed.replayed, 'placed: inserted, replayed')

const { id, version } = placed.result
const mine = await Order.findByPk(id)
const [moved] = await call(
  "SELECT * FROM order_transition('orders', $1, $2, expected_version => $3, key => $4)",
  [id, 'PROCESSING', version, `${key}/PROCESSING`])
expect(moved.outcome === 'applied' && moved.version === '2',
  `moved order: ${moved.from_state} -> ${moved.to_state}, version ${moved.version}`)
await mine.reload() // it was read before the call
expect(mine.status === 'PROCESSING' && mine.version === '2',
  `refreshed: ${mine.status}, version ${mine.version}`)

const parcel = randomUUID()
await sequelize.query('INSERT INTO parcels VALUES ($1, $2)', { bind: [parcel, 'sequelize'] })
const [sent] = await call("SELECT * FROM order_transition('parcels', $1, $2)", [parcel, 'PROCESSING'])
expect(sent.version === '2',
  `moved parcel: ${sent.from_state} -> ${sent.to_state}, version ${sent.version}`)

// bind, not replacements: those would spell an array as a list of values
const messages = [`${key}/1`, `${key}/2`, `${key}/1`]
const consume = () => call("SELECT * FROM idem_consume_batch('sequelize', $1)", [messages])
const counts = [(await consume()).length, (await consume()).length]
expect(counts.join() === '2,0', `consumed: ${counts[0]}, then ${counts[1]}`)

await call("SELECT * FROM order_transition('orders', $1, $2)", [id, 'DELIVERED']).then(
  () => expect(false, 'not refused'),
  error => expect(error.original.code === 'ID201',
    `refused: ${error.original.code} (${error.name}.original.code)`))
await sequelize.close()

// The contenders as clients in node see them.  Each is made for so many
// clients and has place(key, order, fresh), which places the order once and
// resolves to it.  Only those that protect from nothing look at fresh: whether
// the order is a new one.

import pg from 'pg'

// of orders and of what is replayed for them, so that all answer the same
const row = ({ id, customer, status, total }) => ({ id: Number(id), customer, status, total: Number(total) })

const INSERT = {
  name: 'insert',
  text: 'INSERT INTO orders (id, customer, status, total) VALUES ($1, $2, $3, $4) RETURNING *'
}
const SELECT = { name: 'select', text: 'SELECT * FROM orders WHERE id = $1' }

const values = order => [order.id, order.customer, order.status, order.total]
const insert = async (client, order) =>
  row((await client.query({ ...INSERT, values: values(order) })).rows[0])
const select = async (client, order) =>
  row((await client.query({ ...SELECT, values: [order.id] })).rows[0])

// The floor: no protection.
async function floor ({ pool }) {
  return { place: (key, order, fresh) => (fresh ? insert : select)(pool, order) }
}

// All by itself, in five round trips; four for a replay.
async function trips ({ pool }) {
  const queries = {
    claim: 'INSERT INTO request (key, fingerprint) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING',
    answer: 'UPDATE request SET response = $2 WHERE key = $1',
    replay: 'SELECT fingerprint, response FROM request WHERE key = $1'
  }
  const query = (client, name, values) => client.query({ name, text: queries[name], values })

  return {
    async place (key, order) {
      const client = await pool.connect()
      let placed
      try {
        await client.query('BEGIN')
        const { rowCount } = await query(client, 'claim', [key, order.id])
        if (rowCount === 1) {
          placed = await insert(client, order)
          await query(client, 'answer', [key, placed])
        } else {
          const { rows } = await query(client, 'replay', [key])
          if (Number(rows[0].fingerprint) !== order.id) throw new Error('another request')
          placed = rows[0].response
        }
        await client.query('COMMIT')
      } catch (error) {
        await client.query('ROLLBACK')
        throw error
      } finally {
        client.release()
      }
      return placed
    }
  }
}

async function plpgsql ({ pool }) {
  const text = 'SELECT * FROM place_order($1, $2, $3, $4, $5)'
  return {
    place: async (key, order) => row((await pool.query(
      { name: 'place', text, values: [key, ...values(order)] })).rows[0].result)
  }
}

async function upsert ({ pool }) {
  const text = "SELECT * FROM idem_upsert($1, 'orders', $2)"
  return {
    place: async (key, order) => row((await pool.query(
      { name: 'upsert', text, values: [key, order] })).rows[0].result)
  }
}

// The answers in Redis, the orders in PostgreSQL.
async function nodeIdempotency ({ pool, redis }) {
  const { Idempotency } = await import('@node-idempotency/core')
  const { RedisStorageAdapter } = await import('@node-idempotency/storage-adapter-redis')
  const storage = new RedisStorageAdapter({ socket: { path: redis } })
  await storage.connect()
  const idempotency = new Idempotency(storage, { cacheTTLMS: 24 * 3600 * 1000 })

  return {
    async place (key, body) {
      const request = { headers: { 'idempotency-key': key }, method: 'POST', path: '/orders', body }
      const earlier = await idempotency.onRequest(request)
      if (earlier) return earlier.body
      const placed = await insert(pool, body)
      await idempotency.onResponse(request, { body: placed })
      return placed
    },
    end: () => storage.disconnect()
  }
}

async function powertools ({ pool, redis }) {
  const { IdempotencyConfig, makeIdempotent } = await import('@aws-lambda-powertools/idempotency')
  const { CachePersistenceLayer } = await import('@aws-lambda-powertools/idempotency/cache')
  const { createClient } = await import('@redis/client')
  const client = await createClient({ socket: { path: redis } }).connect()
  const place = makeIdempotent(({ order }) => insert(pool, order), {
    persistenceStore: new CachePersistenceLayer({ client }),
    // no payloadValidationJmesPath: on Redis it refuses every replay, since what
    // it would compare is not kept with the answer
    config: new IdempotencyConfig({ eventKeyJmesPath: 'key', expiresAfterSeconds: 24 * 3600 })
  })
  const context = { getRemainingTimeInMillis: () => 60_000 }

  return {
    place: (key, order) => place({ key, order }, context),
    end: () => client.close()
  }
}

// The order is placed in the transaction of a job that is there once a key.
async function pgBoss ({ pool, connection }) {
  const { default: PgBoss } = await import('pg-boss')
  const boss = new PgBoss({
    ...connection, schedule: false, supervise: false, archiveCompletedAfterSeconds: 2 * 24 * 3600
  })
  await boss.start()
  await boss.createQueue('orders')

  return {
    async place (key, order) {
      const client = await pool.connect()
      try {
        await client.query('BEGIN')
        const job = await boss.send('orders', order, {
          singletonKey: key,
          singletonSeconds: 24 * 3600,
          db: { executeSql: (text, values) => client.query(text, values) }
        })
        const placed = await (job ? insert : select)(client, order)
        await client.query('COMMIT')
        return placed
      } catch (error) {
        await client.query('ROLLBACK')
        throw error
      } finally {
        client.release()
      }
    },
    end: () => boss.stop({ graceful: false, wait: true })
  }
}

const makers = { floor, trips, plpgsql, upsert, nodeIdempotency, powertools, pgBoss }

export async function contender (name, { clients, database, redis }) {
  const connection = { host: process.env.PGHOST, port: Number(process.env.PGPORT), user: process.env.PGUSER, database, options: process.env.PGOPTIONS }
  const pool = new pg.Pool({ ...connection, max: clients })
  const made = await makers[name]({ pool, connection, redis })
  return {
    ...made,
    async end () {
      await made.end?.()
      await pool.end()
    }
  }
}

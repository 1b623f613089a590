// Idempotency-Key for Express, by node-postgres: see docs/http.md.
import pg from 'pg'

const CLAIM = `SELECT outcome, response, greatest(1, ceil(extract(epoch FROM lease_until - now())))::int AS seconds
  FROM idem_claim(idem_http_key($1), scope => $2, wait => false, request => jsonb_build_object(
    'method', $3::text, 'target', $4::text, 'body', CASE WHEN $5::text ~ 'json'
      THEN nullif(convert_from($6, 'UTF8'), '')::jsonb ELSE to_jsonb(sha256($6)) END))`

// Behind express.raw(), for the body as it was sent, and before the routes.
export function idempotency ({ pool, tenant, policy }) {
  const problem = (status, title, seconds) => ({
    status, body: Buffer.from(JSON.stringify({ type: policy, title, status })),
    headers: { 'content-type': 'application/problem+json', ...seconds && { 'retry-after': seconds } }
  })

  async function refusal (db, error) {
    const sqlstate = error instanceof pg.DatabaseError ? error.code : 'XX000'
    const { rows: [{ status }] } = await db.query('SELECT idem_http_status($1) AS status', [sqlstate])
    if (status === 500) console.error(error)
    return problem(status, status < 500 ? error.message : 'Not executed', status === 503 && 1)
  }

  async function once (db, req, res, next) {
    const [key, scope, body] = [req.get('Idempotency-Key'), tenant(req), req.body ?? Buffer.of()]
    const { rows: [{ outcome, response, seconds }] } = await db.query(CLAIM,
      [key, scope, req.method, req.originalUrl, req.get('Content-Type'), body])
    if (outcome === 'in_progress') return problem(409, 'This Idempotency-Key is in progress', seconds)
    if (outcome !== 'claimed') {
      response.headers['Idempotent-Replayed'] = 'true'
      return { ...response, body: Buffer.from(response.body, 'base64') }
    }
    await db.query('SAVEPOINT work')
    const [chunks, { write, end }] = [[], res]
    let answer = await new Promise((resolve, reject) => {
      Object.assign(req, { db, failed: reject })
      res.write = (...chunk) => chunk[0] && chunks.push(Buffer.from(...chunk))
      res.end = (...chunk) => resolve(res.write(...chunk))
      next()
    }).then(() => ({ status: res.statusCode, headers: { ...res.getHeaders() }, body: Buffer.concat(chunks) }),
      error => ({ status: 500, error }))
    Object.assign(res, { write, end })
    if (answer.status >= 400) await db.query('ROLLBACK TO work') // what was written, not the claim
    if (answer.error) answer = await refusal(db, answer.error)
    const { 'set-cookie': cookie, 'content-length': length, ...headers } = answer.headers
    const kept = { status: answer.status, headers, body: answer.body.toString('base64') }
    const call = answer.status < 400 ? 'idem_complete' : 'idem_fail'
    await db.query(`SELECT ${call}(idem_http_key($1), $2, scope => $3)`, [key, kept, scope])
    return answer
  }

  return async (req, res, next) => {
    if (!['POST', 'PATCH'].includes(req.method)) return next()
    let db, answer
    try {
      db = await pool.connect()
      await db.query('BEGIN')
      answer = await once(db, req, res, next)
      await db.query(answer.status >= 500 || [408, 425, 429].includes(answer.status) ? 'ROLLBACK' : 'COMMIT')
    } catch (error) {
      answer = db && await db.query('ROLLBACK').then(() => refusal(db, error)).catch(() => null)
    }
    db?.release(!answer) // a broken one not into the pool
    const { status, headers, body } = answer ?? problem(503, 'The database cannot be reached', 1)
    res.getHeaderNames().forEach(name => res.removeHeader(name))
    res.status(status).setHeaders(new Map(Object.entries(headers))).end(body)
  }
}

// Behind the routes.
export const failed = (error, req, res, next) => req.failed ? req.failed(error) : next(error)

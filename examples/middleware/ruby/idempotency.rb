# frozen_string_literal: true

# Idempotency-Key for Rack, and so for what stands on it: see docs/http.md.
require 'json'
require 'pg'
require 'rack'

# The pool has a method with, which yields a connection; the tenant is a lambda of the environment.
class Idempotency
  CLAIM = 'SELECT outcome, response, greatest(1, ceil(extract(epoch FROM lease_until - now())))::int ' \
          "FROM idem_claim(idem_http_key($1), jsonb_build_object('method', $3::text, 'target', $4::text, 'body', " \
          "CASE WHEN $5::text ~ 'json' THEN nullif(convert_from($6, 'UTF8'), '')::jsonb ELSE to_jsonb(sha256($6)) END), " \
          'scope => $2, wait => false)'

  def initialize(app, pool:, tenant:, policy:)
    @app, @pool, @tenant, @policy = app, pool, tenant, policy
  end

  def call(env)
    %w[POST PATCH].include?(env['REQUEST_METHOD']) ? transaction(env) : @app.call(env)
  end

  private

  def transaction(env)
    @pool.with do |db|
      db.transaction { once(env, db) }
    rescue PG::Error => e
      refusal(db, e)
    end
  rescue PG::Error
    problem(503, 'The database cannot be reached', 1)
  end

  def once(env, db)
    key, tenant, body = env['HTTP_IDEMPOTENCY_KEY'], @tenant.call(env), env['rack.input']&.read.to_s
    asked = [env['REQUEST_METHOD'], Rack::Request.new(env).fullpath, env['CONTENT_TYPE'], { value: body, format: 1 }]
    outcome, kept, seconds = db.exec_params(CLAIM, [key, tenant, *asked]).values[0]
    return problem(409, 'This Idempotency-Key is in progress', seconds) if outcome == 'in_progress'
    return replay(JSON.parse(kept)) if outcome != 'claimed'

    db.exec('SAVEPOINT work')
    status, headers, content = work(env.merge('rack.input' => StringIO.new(body), 'idempotency.db' => db), db)
    db.exec('ROLLBACK TO work') if status >= 400 # what was written, not the claim
    kept = headers.transform_keys(&:downcase).except('set-cookie', 'content-length')
    kept = kept.transform_values { |value| [*value].join(',').tr("\n", ',') }
    db.exec_params("SELECT idem_#{status < 400 ? 'complete' : 'fail'}(idem_http_key($1), $2, scope => $3)",
                   [key, { status: status, headers: kept, body: content.pack('m0') }.to_json, tenant])
    db.exec('ROLLBACK AND CHAIN') if status >= 500 || [408, 425, 429].include?(status) # and the key is free
    [status, headers, content]
  end

  def work(env, db)
    status, headers, body = @app.call(env)
    content = String.new
    body.each { |part| content << part }
    body.close if body.respond_to?(:close)
    [status, headers, [content]]
  rescue PG::Error => e
    db.exec('ROLLBACK TO work')
    refusal(db, e)
  end

  def replay(kept)
    [kept['status'], kept['headers'].merge('idempotent-replayed' => 'true'), kept['body'].unpack('m')]
  end

  def refusal(db, error)
    state = error.respond_to?(:result) && error.result&.error_field(PG::PG_DIAG_SQLSTATE) || 'XX000'
    status = db.exec_params('SELECT idem_http_status($1)', [state]).getvalue(0, 0).to_i
    return problem(status, error.result.error_field(PG::PG_DIAG_MESSAGE_PRIMARY)) if status < 500

    warn "not executed: #{error.message}"
    problem(status, 'Not executed', status == 503 ? 1 : nil)
  end

  def problem(status, title, seconds = nil)
    headers = { 'content-type' => 'application/problem+json', 'retry-after' => seconds&.to_s }.compact
    [status, headers, [{ type: @policy, title: title, status: status }.to_json]]
  end
end

// A client as the published ones are: JSON.stringify, node:crypto, fetch.
//
//   node client.mjs URL                a session of odd texts and numbers, each chunk sent twice
//   node client.mjs URL '{"…":…}'      sessions over a queue that repeats what was not answered; see `deliverSessions`
//
// It prints one JSON object: what was sent, and what was answered.
import { createECDH, createHmac, createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

const [url, options] = process.argv.slice(2);
const appHash = createHash('sha256').update('client.mjs').digest('hex');
const contributor = 'c0ffee00c0ffee00c0ffee00c0ffee00';

const metadata = {
  model_engine: 'gpt-5.5', provider: 'codex', agent_role: 'frontend', agent_id: 'frontend-3', task_complexity: 'heavy',
  team_size: 3, session_quality: 50, groove_version: '0.27.216', domain_tags: null, session_embedding: null,
  routing: null, leaf_context: null,
};

async function post(path, text, timeoutMs = 10_000) {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: text,
    signal: AbortSignal.timeout(timeoutMs),
  });
  return { status: response.status, ...(await response.json()) };
}

class Session {
  constructor() {
    this.id = `sess_${randomUUID()}`;
    this.sequence = 0;
    this.chunks = 0;
    this.ecdh = createECDH('prime256v1');
    this.publicKey = this.ecdh.generateKeys('base64');
  }

  opening() {
    return JSON.stringify({
      session_id: this.id, public_key: this.publicKey, provider: 'codex', model: 'gpt-5.5',
      machine_fingerprint: appHash, app_version_hash: appHash, groove_version: '0.27.216',
    });
  }

  opened(serverPublicKey) {
    this.secret = this.ecdh.computeSecret(Buffer.from(serverPublicKey, 'base64'));
  }

  head() {
    return { envelope_id: `env_${randomUUID()}`, session_id: this.id };
  }

  // The attestation stands in the middle of a chunk; what is signed is the same object without it. The sequence is
  // counted up for every envelope that is signed, whatever becomes of it.
  sign(before, after) {
    const sequence = this.sequence++;
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(sequence);
    const payload = Buffer.concat([bytes, Buffer.from(JSON.stringify({ ...before, ...after }))]);
    const session_hmac = createHmac('sha256', this.secret).update(payload).digest('hex');
    return JSON.stringify({ ...before, attestation: { session_hmac, sequence, app_version_hash: appHash }, ...after });
  }

  chunk(trajectory_log, changes = {}, more = {}) {
    const before = { ...this.head(), chunk_sequence: this.chunks++, contributor_id: contributor };
    return this.sign(before, { metadata: { ...metadata, ...changes }, trajectory_log, ...more });
  }

  close(outcome) {
    return this.sign({ ...this.head(), type: 'SESSION_CLOSE' }, { metadata, outcome });
  }

  feedback(changes = {}) {
    const feedback = {
      signal: 'accepted', timestamp: Date.now() / 1000, context: 'lone \udbff', target_step: 1, revision_rounds: 0,
      delta_summary: null, ...changes,
    };
    return this.sign({ ...this.head(), type: 'USER_FEEDBACK' }, { feedback });
  }
}

async function fidelitySession() {
  const contents = [
    'plain', '', 'Zürich – Καλημέρα – 日本語 – עברית', '👩‍👩‍👧‍👦🚀', 'lone \ud83d high', '\udc00 low alone',
    'a \\ud83d that is text, with \\\\ud83d and \\\ud83d',
    '"quotes" \\ / \b\f\n\r\t \u0000\u001f\u007f\u2028\u2029\ufeff',
    '\ud83d\ud83d\ude00\ude00', '</script>&amp;', 'x'.repeat(96_000),
  ];
  const numbers = [
    0.1 + 0.2, 1e21, 1e-7, 5e-324, Number.MAX_VALUE, -0, 2 ** 53 - 1, 123456789.125, -1.5e300, 0.000001,
  ];
  let step = 0;
  const steps = contents.map((content) => ({
    step: ++step, type: 'observation', timestamp: Date.now() / 1000, content, token_count: 12, truncated: false,
    numbers, nested: { 10: 'ten', 2: 'two', b: [null, true, { deep: content.slice(0, 40) }], a: -0.5 },
  }));
  steps.push(
    { step: ++step, type: 'action', timestamp: Date.now() / 1000, tool: 'b\ud83d', arguments: { lone: '\ude00' }, content: '' },
    { step: ++step, type: 'error', timestamp: Date.now(), content: 'milliseconds', is_error: true },
    { step: ++step, type: 'resolution', timestamp: Date.now() / 1000, content: 'done', token_count: 1 },
  );
  const session = new Session();
  const answers = [];
  const opened = await post('/v1/sessions/open', session.opening());
  session.opened(opened.server_public_key);
  for (const trajectory_log of [steps.slice(0, 6), steps.slice(6)]) {
    const body = session.chunk(trajectory_log);
    answers.push(await post('/v1/training/ingest', body), await post('/v1/training/ingest', body));
  }
  const outcome = {
    status: 'SUCCESS', session_quality: 80.5, quality_tier: 'TIER_A', quality_tier_reason: 'no\ud83dne',
    user_interventions: 0, total_steps: step, total_chunks: 2, total_tokens: 2 ** 53 - 1, duration_seconds: 33,
    training_eligible: true,
  };
  answers.push(await post('/v1/training/ingest', session.close(outcome)));
  answers.push(await post('/v1/training/ingest', session.feedback()));
  const closed = await post('/v1/sessions/close', JSON.stringify({ session_id: session.id }));
  return { sessionId: session.id, opened, answers, closed, contents, steps };
}

// One envelope at a time; any 2xx is delivered, anything else is repeated with the same bytes after 1, 2, 4, 8 and 16
// seconds, and then dropped. How long a second is, is an option.
class Queue {
  constructor({ second_ms, timeout_ms }) {
    this.secondMs = second_ms;
    this.timeoutMs = timeout_ms;
    this.sent = [];
    this.drained = Promise.resolve();
  }

  push(path, body, expected) {
    this.drained = this.drained.then(() => this.deliver(path, body, expected));
    return this.drained;
  }

  async deliver(path, body, expected) {
    const failures = [];
    let answer = null;
    for (const wait of [1, 2, 4, 8, 16, null]) {
      try {
        answer = await post(path, body, this.timeoutMs);
        if (answer.status >= 200 && answer.status < 300) break;
        failures.push(String(answer.status));
      } catch (error) {
        failures.push(error.name);
      }
      answer = null;
      if (wait !== null) await sleep(wait * this.secondMs);
    }
    this.sent.push({ path, body, expected, failures, answer });
    return answer;
  }
}

// `queues` clients at once, each with so many `sessions` at once of so many `chunks` over one queue, with a pause of
// `pause_ms` before each. Between what is good there is what the server must refuse, for every reason there is.
async function deliverSessions({ queues, sessions, chunks, pause_ms, ...timing }) {
  const all = Array.from({ length: queues }, () => new Queue(timing));
  const each = all.flatMap((queue) => Array.from({ length: sessions }, () => deliverSession(queue, chunks, pause_ms)));
  await Promise.all(each);
  return { sent: all.flatMap((queue) => queue.sent) };
}

async function deliverSession(queue, chunks, pauseMs) {
  const session = new Session();
  const opened = await queue.push('/v1/sessions/open', session.opening(), 'opened');
  session.opened(opened.server_public_key);
  let step = 0;
  const steps = (types) => types.map((type) => ({
    step: ++step, type, timestamp: Date.now() / 1000, content: `${type} é 🚀 \ud83d ${session.id}`, token_count: 7, tool: 'b\ud83d',
  }));
  const ingest = (body, expected = 'accepted') => queue.push('/v1/training/ingest', body, expected);
  const widest = Object.fromEntries(Array.from({ length: 64 - 7 }, (_, n) => [`more_${n}`, -0.5]));
  for (let n = 0; n < chunks; n++) {
    await sleep(pauseMs);
    ingest(session.chunk(steps(['thought', 'action', 'correction', 'error']), {}, n === 1 ? widest : {}));
    ingest(JSON.stringify({ ...session.head(), metadata, trajectory_log: [] }), 'missing_attestation');
    ingest(session.chunk([], { provider: 'unheard-of' }), 'schema');
    if (n === 0) {
      ingest(session.sign({ ...session.head(), type: 'TELEMETRY' }, { n }), 'unknown_type');
      ingest(session.chunk([], {}, { received: n }), 'reserved_member');
      const elsewhere = new Session();
      elsewhere.secret = session.secret;
      ingest(elsewhere.chunk([]), 'unknown_session');
    }
  }
  ingest(session.chunk(steps(['resolution'])));
  ingest(session.close({ status: 'SUCCESS', total_steps: step, total_chunks: chunks + 1 }));
  ingest(session.feedback({ signal: 'applauded' }), 'schema');
  ingest(session.feedback());
  await ingest(session.chunk([]), 'session_closed');
  await queue.push('/v1/sessions/close', JSON.stringify({ session_id: session.id }), 'closed');
}

console.log(JSON.stringify(await (options ? deliverSessions(JSON.parse(options)) : fidelitySession())));

// A client as the published ones are: JSON.stringify, node:crypto, fetch. Usage: node client.mjs URL
import { createECDH, createHmac, createHash, randomUUID } from 'node:crypto';

const url = process.argv[2];
const sessionId = `sess_${randomUUID()}`;
const appHash = createHash('sha256').update('client.mjs').digest('hex');
const contributor = 'c0ffee00c0ffee00c0ffee00c0ffee00';

const ecdh = createECDH('prime256v1');
const publicKey = ecdh.generateKeys('base64');
let secret = null;
let sequence = 0;

async function post(path, text) {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: text,
    signal: AbortSignal.timeout(10_000),
  });
  return { status: response.status, ...(await response.json()) };
}

// The attestation stands in the middle of a chunk; what is signed is the same object without it.
function sign(before, after) {
  const number = sequence++;
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  const payload = Buffer.concat([bytes, Buffer.from(JSON.stringify({ ...before, ...after }))]);
  const session_hmac = createHmac('sha256', Buffer.from(secret, 'base64')).update(payload).digest('hex');
  const attestation = { session_hmac, sequence: number, app_version_hash: appHash };
  return JSON.stringify({ ...before, attestation, ...after });
}

const metadata = {
  model_engine: 'gpt-5.5', provider: 'codex', agent_role: 'frontend', agent_id: 'frontend-3', task_complexity: 'heavy',
  team_size: 3, session_quality: 50, groove_version: '0.27.216', domain_tags: null, session_embedding: null,
  routing: null, leaf_context: null,
};

const contents = [
  'plain', '', 'Zürich – Καλημέρα – 日本語 – עברית', '👩‍👩‍👧‍👦🚀', 'lone \ud83d high', '\udc00 low alone',
  'a \\ud83d that is text, with \\\\ud83d and \\\ud83d', '"quotes" \\ / \b\f\n\r\t \u0000\u001f\u007f\u2028\u2029\ufeff',
  '\ud83d\ud83d\ude00\ude00', '</script>&amp;', 'x'.repeat(96_000),
];
const numbers = [0.1 + 0.2, 1e21, 1e-7, 5e-324, Number.MAX_VALUE, -0, 2 ** 53 - 1, 123456789.125, -1.5e300, 0.000001];
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

const answers = [];
const opening = JSON.stringify({
  session_id: sessionId, public_key: publicKey, provider: 'codex', model: 'gpt-5.5',
  machine_fingerprint: appHash, app_version_hash: appHash, groove_version: '0.27.216',
});
const opened = await post('/v1/sessions/open', opening);
secret = ecdh.computeSecret(Buffer.from(opened.server_public_key, 'base64')).toString('base64');

const head = () => ({ envelope_id: `env_${randomUUID()}`, session_id: sessionId });
const halves = [steps.slice(0, 6), steps.slice(6)];
for (const [chunk_sequence, trajectory_log] of halves.entries()) {
  const before = { ...head(), chunk_sequence, contributor_id: contributor };
  const body = sign(before, { metadata, trajectory_log });
  answers.push(await post('/v1/training/ingest', body), await post('/v1/training/ingest', body));
}
const outcome = {
  status: 'SUCCESS', session_quality: 80.5, quality_tier: 'TIER_A', quality_tier_reason: 'no\ud83dne', user_interventions: 0,
  total_steps: step, total_chunks: 2, total_tokens: 2 ** 53 - 1, duration_seconds: 33, training_eligible: true,
};
answers.push(await post('/v1/training/ingest', sign({ ...head(), type: 'SESSION_CLOSE' }, { metadata, outcome })));
const feedback = {
  signal: 'accepted', timestamp: Date.now() / 1000, context: 'lone \udbff', target_step: step, revision_rounds: 0,
  delta_summary: null,
};
answers.push(await post('/v1/training/ingest', sign({ ...head(), type: 'USER_FEEDBACK' }, { feedback })));
const closed = await post('/v1/sessions/close', JSON.stringify({ session_id: sessionId }));
console.log(JSON.stringify({ sessionId, opened, answers, closed, contents, steps }));

// Signatures on control records (docs/wire-format.md, "A signature"), with the keys of a file
// that `holdfast keyring new --signing` made.
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';

const HEADER = 'holdfast-signature';
const HMAC_KEY = 'type.googleapis.com/google.crypto.tink.HmacKey';
const BROKERS = new Set([HEADER, 'x-death', 'x-delivery-count', 'x-acquired-count', 'x-stream-offset', 'timestamp_in_ms', 'x-routed-by', 'x-received-from', 'x-shovelled', 'x-shovelled-timestamp']);
const BROKERS_BEGIN = ['x-first-death-', 'x-last-death-', 'x-opt-'];
const DIRECT = 'amq.rabbitmq.reply-to';

/** A record whose signature does not count. What is no JSON is malformed in the same way. */
export class Forged extends SyntaxError {}

/** Signs records and, if they are required, checks signatures. Without a file it does neither. */
export class Signer {
  #path;
  #keys = new Map(); // by ID, in decimal
  #primary;
  #read = 0; // when the file was changed that was read
  #looked = 0;

  constructor(path, required = false) {
    if (required && !path) throw new Error('HOLDFAST_SIGNING is required: set HOLDFAST_SIGNING_KEYRING');
    this.#path = path;
    this.required = required;
    if (path) this.#load();
  }

  /** The headers of a record with its signature for exchange and key. */
  sign(exchange, key, body, properties) {
    const { [HEADER]: _, ...headers } = properties.headers ?? {};
    if (!this.#path) return headers;
    this.#lookAgain(1000);
    return { ...headers, [HEADER]: `1:${this.#primary}:${this.#code(this.#primary, signed(exchange, key, body, properties)).toString('base64url')}` };
  }

  /** Throws Forged where signatures are required and this one is not genuine. */
  check(exchange, key, { content, properties }) {
    if (!this.required) return;
    const [version, id, code = ''] = String(properties.headers?.[HEADER] ?? '').split(':');
    this.#lookAgain(this.#keys.has(id) ? 1000 : 0);
    if (version !== '1' || !this.#keys.has(id)) throw new Forged(`the signature is not genuine: ${id ? `no key ${id}` : 'it is not signed'}`);
    const want = this.#code(id, signed(exchange, key, content, properties));
    const got = Buffer.from(code, 'base64url');
    if (got.length !== want.length || !timingSafeEqual(got, want)) throw new Forged(`the signature is not genuine: key ${id} makes another one`);
  }

  // #code is Tink's: a byte, the key's ID, and the HMAC.
  #code(id, data) {
    const prefix = Buffer.alloc(5);
    prefix[0] = 1;
    prefix.writeUInt32BE(Number(id), 1);
    return Buffer.concat([prefix, createHmac('sha256', this.#keys.get(id)).update(data).digest()]);
  }

  // #lookAgain reads the file again if it has changed; while it cannot be read, the keys of before count.
  #lookAgain(every) {
    if (Date.now() - this.#looked < every) return;
    try {
      if (statSync(this.#path).mtimeMs !== this.#read) this.#load();
    } catch (error) {
      console.error(`the keyring cannot be read: the keys of before count: ${error.code ?? 'it is no keyring'}`);
    }
    this.#looked = Date.now();
  }

  #load() {
    const { mtimeMs } = statSync(this.#path);
    const { 'holdfast-keyring': version, mac } = JSON.parse(readFileSync(this.#path, 'utf8'));
    if (version !== 1 || !mac) throw new Error(`${this.#path} is no keyring that signs: make one with holdfast keyring new --signing`);
    const enabled = mac.key.filter((k) => k.status === 'ENABLED' && k.keyData.typeUrl === HMAC_KEY && k.outputPrefixType === 'TINK');
    for (const { keyId, keyData } of enabled) this.#keys.set(String(keyId), keyValue(Buffer.from(keyData.value, 'base64')));
    this.#primary = String(mac.primaryKeyId);
    this.#read = mtimeMs;
    this.#looked = Date.now();
  }
}

// keyValue is the field 3 of Tink's HmacKey, in protocol buffers.
function keyValue(message) {
  for (let at = 0; at < message.length;) {
    const tag = message[at++];
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++];
      length |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    if ((tag & 7) !== 2) continue; // a number, which is read
    if (tag >> 3 === 3) return message.subarray(at, at + length);
    at += length;
  }
  throw new Error('a key of the keyring has no value');
}

function text(value) {
  const bytes = Buffer.isBuffer(value) ? value : Buffer.from(value == null ? '' : String(value));
  return Buffer.concat([varint(bytes.length), bytes]);
}

function varint(n) {
  const out = [];
  for (; n > 127; n >>>= 7) out.push((n & 127) | 128);
  return Buffer.from([...out, n]);
}

// signed is what is signed.
function signed(exchange, key, body, { contentType, contentEncoding, correlationId, replyTo = '', messageId, type, appId, headers = {} }) {
  const names = Object.keys(headers)
    .filter((name) => headers[name] !== undefined && !BROKERS.has(name) && !BROKERS_BEGIN.some((begin) => name.startsWith(begin)))
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return Buffer.concat([
    Buffer.from('holdfast record 1\0'),
    ...[exchange, key, contentType, contentEncoding, correlationId, replyTo?.startsWith(DIRECT) ? DIRECT : replyTo, messageId, type, appId].map(text),
    varint(names.length),
    ...names.flatMap((name) => [text(name), text(headers[name])]),
    createHash('sha256').update(body).digest(),
  ]);
}

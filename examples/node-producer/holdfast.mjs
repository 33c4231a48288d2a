// Holdfast's wire format (docs/wire-format.md) for a producer group in Node: half
// messages, committed messages, op records, and the answers to check-backs.
import amqp from 'amqplib';
import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Forged, Signer } from './sign.mjs';

const JSON_TYPE = 'application/json';
const QUORUM = { 'x-queue-type': 'quorum', 'x-delivery-limit': 100000000 };
const CHECK_TTL = 10_000; // ms: nobody waits for an older request's answer

/** RabbitMQ has certainly not stored it: there is no queue for it. */
export class Unroutable extends Error {}

/** Nor has it if there is no exchange: no Keeper and no worker has ever run. */
export class NoExchange extends Error {}

/**
 * A connection for one producer group. It emits 'lost' with the error when its
 * connection is lost; it connects again by itself, for ever.
 */
export class Holdfast extends EventEmitter {
  #connection;
  #channel = null; // promise of the confirm channel that everybody publishes on
  #waiting = new Map(); // by message-id: publishes whose confirm is outstanding
  #settled = new Map(); // by half queue: the next op record
  #timer = null;
  #closed = false;

  static async connect({ url, group, prefix = 'holdfast', halfQueues = 1, timeout = 10_000, declare = true, rollingUpgrade = false, signer = new Signer() }) {
    const h = new Holdfast();
    Object.assign(h, { group, prefix, halfQueues, timeout, mayDeclare: declare, rollingUpgrade, signer });
    h.#connection = await amqp.connect(url, { recovery: { initialMaxRetries: 3, maxDelay: 4000 } });
    h.#connection.on('error', () => {}); // 'disconnect' says the same
    h.#connection.on('disconnect', (error) => h.emit('lost', error));
    return h;
  }

  /**
   * Stores the half message of transaction tx. Only once this has resolved may the
   * local transaction run.
   */
  async half(tx, messages) {
    const body = { v: 1, tx, group: this.group, at: new Date().toISOString(), messages: number(tx, messages) };
    await this.#publish(`${this.prefix}.half`, this.#halfQueue(tx), JSON.stringify(body), {
      messageId: tx,
      contentType: JSON_TYPE,
      headers: { ...this.#headers('half'), 'holdfast-tx': tx, 'holdfast-lane': 'express' },
    });
  }

  /** Delivers the messages of the committed transaction tx, perhaps more than once. */
  async publish(tx, messages) {
    await Promise.all(number(tx, messages).map((m) => this.#publish(
      `${this.prefix}.topics`, m.topic, m.base64 ? Buffer.from(m.base64, 'base64') : m.text ?? '',
      {
        messageId: m.id,
        contentType: m.content_type,
        headers: {
          ...m.headers,
          'holdfast-version': '1',
          'holdfast-tx': tx,
          'holdfast-group': this.group,
          'holdfast-topic': m.topic,
          ...(m.key && { 'holdfast-key': m.key }),
        },
      })));
  }

  /**
   * Says that tx is over: 'commit' once publish has resolved, 'rollback' once the
   * local transaction can never commit any more. It does not wait; the op record
   * names what was settled within some milliseconds. A lost one costs a check-back.
   */
  settle(tx, resolution) {
    const queue = this.#halfQueue(tx);
    if (!this.#settled.has(queue)) this.#settled.set(queue, { commit: [], rollback: [] });
    this.#settled.get(queue)[resolution].push(tx);
    this.#timer ??= setTimeout(() => this.#flush(), 5);
  }

  async #flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const records = [...this.#settled];
    this.#settled.clear();
    await Promise.allSettled(records.map(([queue, record]) => this.#publish(`${this.prefix}.half`, queue, JSON.stringify({ v: 1, ...record }),
      { messageId: `op-${record.commit[0] ?? record.rollback[0]}`, contentType: JSON_TYPE, headers: this.#headers('op') })));
  }

  /**
   * Answers check-backs until close. answer(tx, messages) resolves to
   * { resolution, messages?, error? }; if it rejects, that is 'unknown'.
   *
   * A question counts only through the exchange of questions: to answer 'rollback' is
   * to roll back. Through the default exchange ask Keepers of an older version; while
   * they run, set rollingUpgrade.
   */
  async answerCheckBacks(answer) {
    const queue = `${this.prefix}.check.${this.group}`;
    const asks = `${this.prefix}.check`;
    const answers = `${this.prefix}.answers`;
    const declare = async (channel) => {
      if (!this.mayDeclare) return channel.checkQueue(queue); // `holdfast topology declare --checks GROUP` makes it
      for (const exchange of [asks, answers]) await channel.assertExchange(exchange, 'direct');
      await channel.assertQueue(queue, { arguments: { ...QUORUM, 'x-message-ttl': CHECK_TTL } });
      return channel.bindQueue(queue, asks, queue);
    };
    await this.consume(queue, 4, declare, async (request, channel) => {
      const { replyTo = '', correlationId } = request.properties;
      const ours = replyTo.startsWith(`${answers}.`);
      if (!ours && !replyTo.startsWith('amq.rabbitmq.reply-to.')) return; // nobody to answer to
      if (request.fields.exchange !== asks && !(this.rollingUpgrade && request.fields.exchange === '')) {
        return void console.error(`a check-back that did not come through ${asks} is not answered; while a Keeper of an older version runs, set HOLDFAST_ROLLING_UPGRADE=1`);
      }
      try {
        this.check(request);
      } catch (error) {
        if (!(error instanceof Forged)) throw error;
        return void console.error(`a check-back is not answered: ${error.message}`);
      }
      const { transactions } = JSON.parse(request.content);
      const all = await Promise.all(transactions.map(async ({ tx, messages }) => {
        try {
          return { tx, ...await answer(tx, messages) };
        } catch (error) {
          return { tx, resolution: 'unknown', error: String(error.message) };
        }
      }));
      const body = Buffer.from(JSON.stringify({ v: 1, answers: all }));
      const properties = { correlationId, contentType: JSON_TYPE, headers: this.#headers('check-reply') };
      // Whichever way an answer takes, it is signed for the exchange of answers.
      channel.publish(ours ? answers : '', replyTo, body, { ...properties, headers: this.signer.sign(answers, '', body, properties) });
    });
  }

  /**
   * Consumes a queue until close, also after lost connections; it resolves once the
   * queue is there. handle(delivery, channel) runs for at most `prefetch` deliveries
   * at a time. A delivery is acknowledged once handle resolves; after an error it
   * comes again, but what is no JSON goes to the dead letters.
   */
  async consume(queue, prefetch, declare, handle) {
    const channel = await this.#connection.createChannel();
    let consuming = false;
    channel.on('error', (error) => this.emit('lost', error));
    channel.on('close', () => { if (consuming) this.#consumeAgain(queue, prefetch, declare, handle); });
    await declare(channel);
    await channel.prefetch(prefetch);
    await channel.consume(queue, async (delivery) => {
      if (delivery === null) return void channel.close().catch(() => {}); // the queue was deleted
      const settle = (how) => { try { how(); } catch { /* the channel is lost: it comes again */ } };
      try {
        await handle(delivery, channel);
      } catch (error) {
        console.error(`a message of ${queue}: ${error.message}`);
        const buried = error instanceof SyntaxError && await this.#bury(queue, delivery, error).then(() => true, () => false);
        if (!buried) {
          await sleep(1000);
          return settle(() => channel.nack(delivery));
        }
      }
      settle(() => channel.ack(delivery));
    });
    consuming = true;
  }

  async #bury(queue, { content, properties: { messageId, contentType, headers } }, error) {
    await this.#publish(`${this.prefix}.dead`, '', content, {
      messageId: messageId ?? randomUUID(),
      contentType,
      headers: { ...headers, 'holdfast-queue': queue, 'holdfast-error-class': 'malformed', 'holdfast-reason': error.message },
    });
  }

  async #consumeAgain(...args) {
    while (!this.#closed) {
      await sleep(500);
      try {
        return await this.consume(...args);
      } catch (error) {
        this.emit('lost', error);
      }
    }
  }

  /** Throws Forged, which makes a dead letter of the delivery, if signatures are required and this one does not count. */
  check(delivery) {
    this.signer.check(delivery.fields.exchange, delivery.fields.routingKey, delivery);
  }

  /** Publishes a reply to a saga to one queue; it rejects with Unroutable if there is none. */
  async reply(queue, body, properties) {
    await this.#publish(`${this.prefix}.replies`, queue, JSON.stringify(body), { ...properties, contentType: JSON_TYPE });
  }

  /** Declares a queue out of which RabbitMQ drops nothing but into the dead letters. */
  async declare(queue, channel) {
    const own = channel ?? await this.#connection.createChannel();
    own.on('error', () => {}); // the call rejects
    await own.assertQueue(queue, {
      arguments: {
        ...QUORUM,
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': `${this.prefix}.dead`,
        'x-dead-letter-strategy': 'at-least-once',
        'x-overflow': 'reject-publish',
      },
    });
    if (!channel) await own.close();
  }

  /** Writes the last op records and closes the connection. */
  async close() {
    await this.#flush();
    this.#closed = true;
    await this.#connection.close();
  }

  #headers(kind) {
    return { 'holdfast-kind': kind, 'holdfast-version': '1', 'holdfast-group': this.group };
  }

  #halfQueue(tx) {
    const n = fnv1a(tx) % this.halfQueues;
    return `${this.prefix}.half.${this.group}${n ? `#${n + 1}` : ''}`;
  }

  // #publish resolves once RabbitMQ has confirmed that it stored the message. A
  // confirm that is lost with its channel says nothing: the message is published
  // again, with the same ID. After `timeout` it rejects, and nobody knows.
  async #publish(exchange, key, body, properties) {
    const deadline = Date.now() + this.timeout;
    const late = new AbortController();
    const over = sleep(this.timeout, null, { signal: late.signal }).then(() => {
      throw new Error(`RabbitMQ did not confirm ${properties.messageId} in time: it may or may not have been stored`);
    });
    over.catch(() => {});
    try {
      for (let pause = 100; ; pause = Math.min(2 * pause, 2000)) {
        try {
          return await Promise.race([this.#try(exchange, key, Buffer.from(body), properties), over]);
        } catch (error) {
          if ([Unroutable, NoExchange, RangeError].some((final) => error instanceof final) || Date.now() >= deadline || this.#closed) throw error;
          await Promise.race([sleep(pause), over]);
        }
      }
    } finally {
      late.abort();
    }
  }

  async #try(exchange, key, body, properties) {
    const channel = await (this.#channel ??= this.#openChannel());
    const waiting = { returned: false };
    this.#waiting.set(properties.messageId, waiting);
    const headers = exchange === `${this.prefix}.topics` ? properties.headers : this.signer.sign(exchange, key, body, properties);
    const options = { ...properties, headers, persistent: true, mandatory: true, timestamp: Math.floor(Date.now() / 1000) };
    try {
      await new Promise((resolve, reject) => {
        channel.publish(exchange, key, body, options, (error) => (error ? reject(error) : resolve()));
      });
    } catch (error) {
      if (channel.missing?.includes(`'${exchange}'`)) {
        throw new NoExchange(`there is no exchange ${exchange}: neither holdfast keep ${this.group} nor a worker has run with this prefix yet: start one`);
      }
      throw error;
    } finally {
      this.#waiting.delete(properties.messageId);
    }
    // An unroutable message is returned first, and then confirmed all the same.
    if (waiting.returned) throw new Unroutable(`no queue for ${exchange || 'the queue'} ${key}: see that its consumer, or holdfast keep ${this.group}, runs or has run`);
  }

  async #openChannel() {
    try {
      const channel = await this.#connection.createConfirmChannel();
      channel.on('error', (error) => { // before the publishes that wait are told
        if (error.code === 404) channel.missing = error.message; // a publish looks for nothing but its exchange
        else this.emit('lost', error);
      });
      channel.on('close', () => { this.#channel = null; });
      channel.on('return', (message) => {
        const waiting = this.#waiting.get(message.properties.messageId);
        if (waiting) waiting.returned = true;
      });
      return channel;
    } catch (error) {
      this.#channel = null;
      throw error;
    }
  }
}

// number gives messages their IDs: the transaction's, or tx.1, tx.2 and so on.
function number(tx, messages) {
  return messages.map((m, i) => ({ ...m, id: messages.length === 1 ? tx : `${tx}.${i + 1}` }));
}

// fnv1a is the 32-bit FNV-1a hash that spreads transactions over half queues.
function fnv1a(text) {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

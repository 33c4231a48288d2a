// Package broker is Holdfast's RabbitMQ side: half messages and the op records
// that settle them, committed messages, consumers, and dead letters.
//
// # Where it stands in the flow
//
// A producer's half message goes to its group's half queue ([Broker.PublishHalf])
// before the local transaction, the messages go to the topics exchange
// ([Broker.PublishMessages]) after it, and an op record then tells the Keeper
// that the half message can be forgotten ([Broker.Settle]). The Keeper
// ([Broker.Keep]) holds half messages unacknowledged, and hands over those that
// stay undecided. Consumers ([Broker.Consume]) get what their queues are bound
// to; what they cannot handle goes to the queue of dead letters.
//
// The package decides nothing about transactions: resolutions, check-backs and
// compensation are made elsewhere, out of what it delivers.
//
// # Names
//
// With the prefix "holdfast":
//
//	holdfast.topics         topic exchange of committed messages; routing key = topic
//	holdfast.half.<group>   half messages and op records of a producer group
//	holdfast.q.<consumer>   the messages of one consumer
//	holdfast.dead           dead letters
//
// All queues are durable quorum queues. The half queue has a single active
// consumer. What RabbitMQ itself drops from half and consumer queues goes to
// holdfast.dead too, at least once. A topic is AMQP's routing key; a consumer
// here is a named queue with any number of processes, each of which is a
// consumer to AMQP.
//
// # Wire format, version 1
//
// Every message is persistent and has a timestamp. Headers that begin with
// "holdfast-" are Holdfast's; each is a string.
//
// A half record, in the half queue, has the transaction's ID as message-id, the
// content type application/json, the body
//
//	{"v":1,"tx":"…","group":"…","at":"…","messages":[…]}
//
// and the headers
//
//	holdfast-kind      half
//	holdfast-version   1
//	holdfast-tx        the transaction's ID, as in the body
//	holdfast-group     the producer group, as in the body
//
// An op record, in the half queue, settles the transactions that its body names:
//
//	{"v":1,"commit":["…"],"rollback":["…"]}
//
//	holdfast-kind      op
//	holdfast-version   1
//	holdfast-group     the producer group
//
// A committed message has the message's own body, content type and headers, its
// ID as message-id, and
//
//	holdfast-version   1
//	holdfast-tx        the transaction's ID
//	holdfast-group     the producer group
//	holdfast-topic     the topic
//	holdfast-key       the business key, if there is one
//
// A header that a user calls CC or BCC is written as holdfast-header-CC or
// holdfast-header-BCC, since RabbitMQ would act on it, and read back as it was.
// A message of a foreign publisher needs a message-id; the rest is optional.
//
// A dead letter has the body, properties and headers of the delivery, and
//
//	holdfast-consumer      the consumer that gave up; none for the half queue
//	holdfast-queue         the queue it was in
//	holdfast-reason        the error's text, at most 2 KiB
//	holdfast-error-class   permanent, exhausted, panic or malformed
//	holdfast-attempts      how often it was tried
//	holdfast-dead-at       when, in RFC 3339, UTC
//	holdfast-exchange      the exchange it was published to, if not the default one
//	holdfast-routing-key   the routing key it was published with
//	holdfast-expiration    its property expiration, if it had one
//	holdfast-user-id       its property user-id, if it had one
//	holdfast-headers-cut   names of headers that were dropped, because they and
//	                       ours would not fit into one frame
//
// What RabbitMQ dead-letters itself has its x-death header instead.
//
// # Confirms
//
// Publishes are pipelined: a few AMQP channels are shared by all callers, and
// each caller waits for its own confirm. A returned message is known to be
// unroutable before its ack is believed. When a channel is lost, what was
// pending on it is neither stored nor lost but unknown, and is published again
// with the same message-id. See [ErrNotSent] and [ErrConfirmUnknown].
package broker

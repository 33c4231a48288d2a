// Package broker is Holdfast's RabbitMQ side: half messages and the op records
// that settle them, committed messages, consumers, dead letters, and the calls of
// sagas with their replies. It makes no promise of compatibility: programs use package
// worker.
//
// # Where it stands in the flow
//
// A producer's half message goes to its group's half queue ([Broker.PublishHalf])
// before the local transaction, the messages go to the topics exchange
// ([Broker.PublishMessages]) after it, and an op record then tells the Keeper
// that the half message can be forgotten ([Broker.Settle]). The Keeper
// ([Broker.Keep]) holds half messages unacknowledged, and hands over those that
// stay undecided. Consumers ([Broker.Consume]) get what their queues are bound
// to; what they cannot handle goes to the queue of dead letters, which every worker
// with a Temporal empties into workflows ([Broker.ConsumeDead]). From there a
// message can go back to its consumer ([Broker.Redeliver]), or its compensation
// can be made known ([Broker.PublishCompensated]).
//
// A saga's message to a participant, a call ([Broker.PublishSagaCall]), is a
// message that says where its reply is wanted. The participant is a consumer; it
// replies ([Broker.PublishSagaReply]) before its delivery is acknowledged, also
// where it gives up ([Subscription].GiveUp). Whoever runs sagas takes the replies
// ([Broker.ConsumeReplies]).
//
// The package decides nothing about transactions: resolutions, check-backs and
// compensation are made elsewhere, out of what it delivers.
//
// # Where things live
//
// The methods of Broker are here. Below, each of them knows some of those before it, and
// none knows Broker:
//
//	internal/wire         records as bytes and headers, both ways, and all names
//	internal/link         connections, publishing with confirms, subscriptions
//	internal/keeper       half messages until they are settled or handed over
//	internal/consumer     one delivery's life: tries, retries, breaker, giving up
//	internal/topology     queues and exchanges: made, looked for, made again
//	internal/alerts       alerts between processes: handed over, and taken
//	internal/pauses       pauses of consumers by hand: written, read, followed
//	internal/peers        processes that ask each other: status, consumers, check-backs
//	internal/sagacalls    calls of sagas to participants, and the replies
//	internal/deadletters  the queue of dead letters: emptied, filled again, redelivery
//
// # Names
//
// With the prefix "holdfast":
//
//	holdfast.topics            topic exchange of committed messages; routing key = topic
//	holdfast.half.<group>      half messages and op records of a producer group
//	holdfast.half.<group>#<n>  further such queues, n from 2
//	holdfast.q.<consumer>      the messages of one consumer
//	holdfast.alone.<consumer>  those of them that were lost twice in a row
//	holdfast.retry.<delay>     messages that wait, and the fanout exchange to there
//	holdfast.retry             direct exchange from there back to the consumers
//	holdfast.queues            direct exchange to the consumers' queues
//	holdfast.half              direct exchange to the half queues
//	holdfast.replies           direct exchange to the reply queues
//	holdfast.compensated       topic exchange of compensation notices; routing key =
//	                           topic of the message
//	holdfast.dead              dead letters and answers to redeliveries, and the
//	                           fanout exchange to there
//	holdfast.dead.oversized    dead messages that are too large for a workflow
//	holdfast.replies.<group>   replies to the sagas of a producer group
//	holdfast.replies.<group>@<process>.<digits>
//	                           those that a process hopes to get itself
//	holdfast.check.<group>     check-backs for a group's processes in other languages,
//	                           which declare it
//	holdfast.pauses            direct exchange and stream of consumers' pauses by hand
//	holdfast.status            fanout exchange of status requests
//
// All queues are durable quorum queues, but for the last. A half queue has a single active
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
//	holdfast-lane      express, or none
//
// A half record of many, of version 3, has holdfast-txs with the IDs of several
// transactions, with spaces between, in the place of holdfast-tx, and a line for each,
// which is the body that its own record would have.
//
// A transaction's half and op record go to the half queue 1 + h mod n of the
// group's n, where h is the 32-bit FNV-1a hash of its ID. A Keeper takes what it
// finds, whatever its hash.
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
// A retry has the body, properties and headers of the delivery, without what
// RabbitMQ added (x-death and the like), and
//
//	holdfast-consumer      the consumer
//	holdfast-attempts      how many attempts failed and count
//	holdfast-lost          how often it was lost since an attempt last returned
//	holdfast-hops          how often it still waits for the longest delay, untried
//	holdfast-long          1 if somebody was told that it waits for long
//	holdfast-attempt-log   the first 2 and the last 10 attempts, as JSON:
//	                       [{"n":1,"at":"…","class":"error","error":"…"}]
//	holdfast-error-class   that of the last attempt
//	holdfast-reason        its error's text, at most 2 KiB
//	holdfast-redelivery    the number of the operator's redelivery, if it is one
//	holdfast-exchange      as in a dead letter, as are the next three
//	holdfast-routing-key
//	holdfast-expiration
//	holdfast-user-id
//
// Headers with numbers are absent where the number is 0. A message is put at its
// queue's end through holdfast.queues, or into holdfast.retry.<delay>
// through the exchange of that name, with the consumer's queue as routing key.
// When the time is over, RabbitMQ takes it to the exchange holdfast.retry, where
// that routing key leads to the queue, and if that is gone, the alternate exchange
// to the dead letters. A delay is written as in 500ms, 10s, 5m or 1h30m. All
// consumers share the delay queues.
//
// When a message is handled whose holdfast-redelivery is n, its consumer first
// publishes a record to holdfast.dead with the message's message-id, no body, and
//
//	holdfast-kind          handled
//	holdfast-version       1
//	holdfast-consumer      the consumer
//	holdfast-redelivery    n
//
// A dead letter has the body, properties and headers of the delivery, and
//
//	holdfast-consumer      the consumer that gave up; none for the half queue
//	holdfast-queue         the queue it was in
//	holdfast-reason        the error's text, at most 2 KiB
//	holdfast-error-class   error, timeout, panic, lost, permanent, malformed or dropped
//	holdfast-attempts      how often it was tried, or lost in the end
//	holdfast-attempt-log   as in a retry
//	holdfast-lost          as in a retry
//	holdfast-redelivery    as in a retry
//	holdfast-policy        what its consumer wants done with it, if not to wait
//	holdfast-dead-at       when, in RFC 3339, UTC
//	holdfast-exchange      the exchange it was first published to, if not the
//	                       default one
//	holdfast-routing-key   the routing key it was first published with
//	holdfast-expiration    its property expiration, if it had one
//	holdfast-user-id       its property user-id, if it had one
//	holdfast-headers-cut   names of headers that were dropped, because they and
//	                       ours would not fit into one frame
//
// What RabbitMQ dead-letters itself has its x-death header instead. A record with
// neither is taken as a dead letter, too, whatever it is. A dead letter goes by its
// message-id; without one, by a hash of its content.
//
// A message of more than [holdfast.MaxBody], or with headers that would not fit
// into a workflow, is stored whole in holdfast.dead.oversized, perhaps twice, and
// then replaced by a record with its first 4 KiB and
//
//	holdfast-kept          the queue that has the whole message
//	holdfast-size          the body's length in bytes
//	holdfast-letter        the dead letter's ID, where there is no message-id
//
// A redelivered message is published through holdfast.queues, as it was when it was
// published first, with
//
//	holdfast-redelivery       the redelivery's number, from 1
//	holdfast-exchange         as in the dead letter
//	holdfast-routing-key      as in the dead letter: the topic, where no other is named
//	holdfast-edited-by        who edited its body, if somebody did
//	holdfast-original-sha256  hash of the body before that, in hex
//
// If it dies again its dead letter has that number, too. If it is handled, a
// handled record is put into holdfast.dead before the acknowledgement: no body, the
// message's message-id and
//
//	holdfast-kind          handled
//	holdfast-consumer      the consumer; none where a Keeper answers
//	holdfast-queue         its queue, or the half queue
//	holdfast-redelivery    the redelivery's number
//	holdfast-late          1 in a copy that Holdfast has put off for 10 s
//
// A compensation notice goes to the exchange holdfast.compensated, with the topic of
// its message. It has that one's body, content type and headers, its own
// holdfast-topic, the message-id of the message with ".compensated" behind it, and
//
//	holdfast-kind            compensated
//	holdfast-of              the message's ID
//	holdfast-of-consumer     the consumer that failed on it
//	holdfast-of-reason       its last error
//	holdfast-of-error-class  that one's class
//
// The same notice goes into the queue of the consumer that failed. None of these
// records counts if it came through another exchange: see docs/security.md.
//
// A saga's call goes to the topics exchange. It has the same message-id each time
// that the saga asks the same, the property reply-to (a process's reply queue; it
// may be missing), the body, content type and headers that the step made, no
// holdfast-tx, and
//
//	holdfast-saga            the saga's ID
//	holdfast-saga-workflow   the workflow that waits for the reply
//	holdfast-step            the step
//	holdfast-op              do or undo
//	holdfast-cause           why it is undone, at most 2 KiB
//	holdfast-again           1: a refusal that is remembered does not count
//	holdfast-replies         the group's reply queue
//	holdfast-token           what the reply has to repeat, if anything
//
// A reply goes to the queue reply-to through holdfast.replies, and if it is returned,
// to the queue holdfast-replies. Other queues than reply queues are not replied to. A reply has
// the call's message-id as correlation-id, and with ".reply" behind it as its own,
// the content type application/json, the body
//
//	{"v":1,"saga":"…","workflow":"…","step":"…","undo":true,"outcome":"done",
//	 "class":"…","reason":"…","result":…,"participant":"…","token":"…","topic":"…"}
//
// and the headers
//
//	holdfast-kind      reply
//	holdfast-version   1
//	holdfast-saga      the saga's ID
//
// Only the body counts. A malformed call or reply is a dead letter.
//
// # Status
//
// Every process on which a consumer or Keeper runs binds a queue of its own,
// holdfast.status.<uuid>, to holdfast.status: exclusive, and deleted with its
// connection. It answers each request there, whose reply-to must be RabbitMQ's
// amq.rabbitmq.reply-to, with a [ProcessStatus] in JSON and the request's
// correlation-id; the message-id tells processes apart. A request with the headers
// holdfast-group and holdfast-peek also wants the group's oldest undecided half
// messages. See [Broker.Ask] and [Broker.Peek]. A
// program that only publishes or asks has no such queue.
//
// # What a Keeper holds
//
// It reads short half records when they come, and of long ones only the headers:
// those it reads when it hands them over, and a malformed one is a dead letter
// then. It keeps records of up to KeeperOptions.HeldBytes in memory. Of further ones
// it keeps the transaction's ID, and gives the record back to RabbitMQ when it is
// to be handed over, so that it comes again. It acknowledges settled records
// together, after some milliseconds; those lost with a connection come again, and
// are handed over where their op record does not.
//
// # Check-backs
//
// Processes of a producer group that are written in other languages are asked over
// RabbitMQ what became of their transactions ([Broker.CheckRemotely]): up to 200
// transactions in a request, published through the exchange holdfast.check to
// holdfast.check.<group>, and answered through holdfast.answers to who asked, with the
// request's correlation-id; both through the default exchange for processes of an
// older version. The bodies are
//
//	{"v":1,"group":"…","transactions":[{"tx":"…","messages":[…]}]}
//	{"v":1,"answers":[{"tx":"…","resolution":"commit","messages":[…],"error":"…"}]}
//
// All requests of a process go over one channel. Where there is no such queue, or
// no answer within 10 s, nobody was reached ([ErrUnreached]).
//
// # Deliveries that fail
//
// A message is tried Tries times at once, then once after each delay of its
// consumer's Ladder, then it is a dead letter. A delivery that comes again without
// a result is written down as lost before it is tried, so that a message that
// kills its process is not tried for ever; after two losses in a row it is tried
// only where nothing else is being handled, so that no other dies with it. When
// every recent message failed, the circuit breaker pauses the consumer in this
// process and then tries one message at a time; what fails meanwhile does not
// count. See [Subscription] and [BreakerOptions].
//
// Attempts are counted in the headers above and nowhere else. A message is
// acknowledged only once what replaces it is confirmed: a process that dies in
// between leaves two of it. A message waits at least its delay; while RabbitMQ
// cannot take it out of a delay queue, longer. If somebody deletes the exchange
// holdfast.retry, messages stay in the delay queues, where RabbitMQ no longer
// counts them, until a few minutes after a consumer has connected anew.
//
// # Replies
//
// A process's reply queue is a durable classic queue. It is not exclusive, so that
// it and what is in it outlive a lost connection. What nobody takes out of it
// within 5 s, RabbitMQ moves to the group's queue, where any process of the group
// takes it; a process that ends deletes its queue, and otherwise RabbitMQ does
// after a minute without a consumer. What comes in the last seconds of that minute
// is lost, and the saga asks again.
//
// # Missing queues
//
// A queue that a publish finds missing is made anew after 0.3 s, not at once:
// RabbitMQ keeps up the consumers of a quorum queue that is deleted and there
// again before they were told, and delivers nothing to them.
//
// # Confirms
//
// Publishes are pipelined: a few AMQP channels are shared by all callers, and
// each caller waits for its own confirm. A returned message is known to be
// unroutable before its ack is believed. When a channel is lost, what was
// pending on it is neither stored nor lost but unknown, and is published again
// with the same message-id. See [ErrNotSent] and [ErrConfirmUnknown].
package broker

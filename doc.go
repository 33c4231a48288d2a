// Package holdfast is the vocabulary of Holdfast: transactional messages for
// RabbitMQ, coordinated by Temporal, with PostgreSQL as the truth.
//
// A transaction is one local transaction (the producer's own database
// transaction) and the one or more messages that are delivered if and only if
// it commits. Its messages are first stored in the broker as a half message,
// which no consumer can see. The outcome of the local transaction, its
// [Resolution], then decides: [Commit] delivers them, [Rollback] forgets them,
// and while it is [Unknown] the producer group is asked: the check-back.
//
// Its [Lane] says how a transaction is coordinated: [Traced] by a Temporal workflow,
// or [Express] by the broker's half queue alone, and by Temporal only where it stays
// undecided.
//
// The names follow RocketMQ's transactional messages.
//
// This package holds types, errors and small interfaces, and imports the
// standard library only. What runs them is in the packages below:
//
//	barrier     outcome rows and inbox rows in PostgreSQL
//	broker      RabbitMQ: half queue, topics, consumers, the Keeper
//	activities  the steps of a transaction, over ports
//	workflows   the Temporal workflows: Transaction, Recovery, DeadLetter, Saga
//	worker      all of it joined in one process: start here
package holdfast

// Package wire has the records that go through RabbitMQ, as bytes and headers, both
// ways: half and op records, messages, dead letters, check-backs, calls and replies of
// sagas, alerts and status answers. It is pure: no connection, no clock, no goroutine. It
// is the one place that knows the names of headers, exchanges and queues, and what of a
// delivery counts. Every part of broker uses it; it imports the root package only. The
// format is described in the package comment of broker.
package wire

import (
	"strings"

	"github.com/holdfastmq/holdfast"
)

// The names of the headers, here and nowhere else; the package comment of broker says
// what each is for.
const (
	headerPrefix  = holdfast.ReservedHeader
	HeaderKind    = "holdfast-kind"
	HeaderVersion = "holdfast-version"
	HeaderTx      = "holdfast-tx"
	HeaderGroup   = "holdfast-group"
	HeaderKey     = "holdfast-key"
	HeaderTopic   = "holdfast-topic"
	// HeaderCausation is the ID of the message that led to this one. AMQP has no property
	// for it.
	HeaderCausation = "holdfast-causation"
	HeaderUser      = "holdfast-header-" // begins the name of a header that RabbitMQ would act on, or take for its own
	// HeaderClaim is put in the place of holdfast-kind where that does not count: it
	// says what the record claims to be.
	HeaderClaim = "holdfast-claimed-kind"

	// Of half records.
	HeaderLane     = "holdfast-lane"     // express, or none
	headerDatabase = "holdfast-database" // the identity of the transaction's database
	headerTxs      = "holdfast-txs"      // the transactions of a record of many, with spaces between

	// Of dead letters, in addition to those of the delivery.
	HeaderConsumer   = "holdfast-consumer"
	HeaderQueue      = "holdfast-queue"
	HeaderReason     = "holdfast-reason"
	HeaderErrorClass = "holdfast-error-class"
	HeaderAttempts   = "holdfast-attempts"
	HeaderDeadAt     = "holdfast-dead-at"
	HeaderExchange   = "holdfast-exchange"
	HeaderRoutingKey = "holdfast-routing-key"
	HeaderExpiration = "holdfast-expiration"
	HeaderUserID     = "holdfast-user-id"
	HeaderCut        = "holdfast-headers-cut"

	// Of retries; a dead letter has some of them, too.
	HeaderLost       = "holdfast-lost"        // redeliveries since an attempt last returned
	HeaderLog        = "holdfast-attempt-log" // JSON of []holdfast.Attempt, bounded
	HeaderPolicy     = "holdfast-policy"      // holdfast.Policy.String
	HeaderRedelivery = "holdfast-redelivery"  // number of the operator's redelivery
	HeaderHops       = "holdfast-hops"        // how often it still waits for the longest delay before it is tried
	HeaderLong       = "holdfast-long"        // somebody was told that the message waits for long

	// Of a handled record that was put off.
	HeaderLate = "holdfast-late"

	// Of an edited redelivery.
	HeaderEditedBy = "holdfast-edited-by"
	HeaderOriginal = "holdfast-original-sha256" // of the body before the edit, in hex

	// Of the records that the intake puts back.
	HeaderKept      = "holdfast-kept"   // the queue that has the whole message
	HeaderWholeSize = "holdfast-size"   // of the whole body, where HeaderKept is set
	HeaderLetter    = "holdfast-letter" // the dead letter's ID, where there is no message-id
	headerCopy      = "holdfast-copy"   // the dead letter's Copy, in a redelivery and its answers

	// Of a compensation notice. Those of its own retries are others.
	HeaderOf         = "holdfast-of"
	HeaderOfConsumer = "holdfast-of-consumer"
	HeaderOfReason   = "holdfast-of-reason"
	HeaderOfClass    = "holdfast-of-error-class"

	// Of a saga's call. The queue for the reply is the property reply-to.
	HeaderSaga     = "holdfast-saga"
	HeaderWorkflow = "holdfast-saga-workflow"
	HeaderStep     = "holdfast-step"
	HeaderStepOp   = "holdfast-op"
	HeaderCause    = "holdfast-cause"
	HeaderAgain    = "holdfast-again"
	HeaderReplies  = "holdfast-replies"
	headerToken    = "holdfast-token"
	headerContent  = "holdfast-saga-content"

	// Of a status request.
	HeaderWant  = "holdfast-want"
	HeaderPeek  = "holdfast-peek"  // how many half messages of holdfast-group to tell
	headerProbe = "holdfast-probe" // the consumers whose breakers are to try a message, as JSON
)

// Values of the header holdfast-kind.
const (
	KindHalf        = "half"
	KindOp          = "op"
	KindHandled     = "handled"     // in the queue of dead letters: a redelivery was handled
	KindCompensated = "compensated" // a compensation notice
	kindReply       = "reply"
	kindCheck       = "check"
	KindAlert       = "alert"
	KindStatus      = "status" // of requests and of answers
	KindHello       = "hello"  // to all processes: ask me who I am
	KindPause       = "pause"  // a consumer's pause, or its end
)

// Values of other headers.
const (
	Version       = "1"
	opDo          = "do"
	opUndo        = "undo"
	wantConsumers = "consumers"
	WantKeepers   = "keepers" // a hello of a process that hands half messages over
)

const contentJSON = "application/json"

// describes reports whether a header of ours says something of a message, and
// commands nothing. Whoever publishes to a topic may ask a participant for a saga's
// step: his reply goes to that saga's group, and counts there only with its token.
func describes(name string) bool {
	switch name {
	case HeaderVersion, HeaderTx, HeaderGroup, HeaderTopic, HeaderKey, HeaderClaim, HeaderCausation,
		HeaderSaga, HeaderWorkflow, HeaderStep, HeaderStepOp, HeaderCause, HeaderAgain, HeaderReplies, headerToken,
		headerContent:
		return true
	}
	return strings.HasPrefix(name, HeaderUser)
}

// copied reports whether a header says where a message was first published, of
// which this is a copy.
func copied(name string) bool {
	switch name {
	case HeaderExchange, HeaderRoutingKey, HeaderExpiration, HeaderUserID, HeaderCut:
		return true
	}
	return describes(name)
}

// ofNotice reports whether a header is a compensation notice's.
func ofNotice(name string) bool {
	switch name {
	case HeaderOf, HeaderOfConsumer, HeaderOfReason, HeaderOfClass:
		return true
	}
	return false
}

// ofHalf reports whether a header says something of a half record's transactions.
func ofHalf(name string) bool {
	return name == HeaderLane || name == headerDatabase || name == headerTxs
}

// ofGivenUp reports whether a header says how somebody came to give a message up.
func ofGivenUp(name string) bool {
	switch name {
	case HeaderQueue, HeaderErrorClass, HeaderDeadAt, HeaderConsumer, HeaderReason, HeaderAttempts, HeaderLost,
		HeaderLog:
		return true
	}
	return copied(name) || ofHalf(name)
}

// ofKept reports whether a header says that the whole message is elsewhere: it
// forbids more than it commands.
func ofKept(name string) bool {
	return name == HeaderKept || name == HeaderWholeSize || name == HeaderLetter
}

// ofRetry reports whether a header says how often a message was tried.
func ofRetry(name string) bool {
	switch name {
	case HeaderConsumer, HeaderReason, HeaderAttempts, HeaderLost, HeaderLog, HeaderRedelivery, headerCopy:
		return true
	}
	return copied(name) || ofHalf(name)
}

// OfDeath reports whether a header is about a message's retries and its death,
// and not part of the message.
func OfDeath(name string) bool {
	switch name {
	case HeaderConsumer, HeaderQueue, HeaderReason, HeaderErrorClass, HeaderAttempts, HeaderDeadAt,
		HeaderExchange, HeaderRoutingKey, HeaderLost, HeaderLog, HeaderPolicy, HeaderRedelivery,
		HeaderKept, HeaderWholeSize, HeaderLetter, headerCopy, HeaderHops, HeaderLong, HeaderSignature, HeaderRefused:
		return true
	}
	return brokersOwn(name)
}

// brokersOwn reports whether RabbitMQ adds a header of this name to deliveries.
func brokersOwn(name string) bool {
	return name == "x-delivery-count" || name == "x-acquired-count" || name == "x-death" ||
		strings.HasPrefix(name, "x-first-death-") || strings.HasPrefix(name, "x-last-death-")
}

// escapeHeader renames the headers that RabbitMQ itself acts on, or writes: with CC and
// BCC a publish would go to further queues, or close the channel, and what it counts
// would not survive.
func escapeHeader(name string) string {
	if name == "CC" || name == "BCC" || brokersOwn(name) {
		return HeaderUser + name
	}
	return name
}

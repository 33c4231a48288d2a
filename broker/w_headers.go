package broker

import (
	"strings"

	"github.com/holdfastmq/holdfast"
)

// The names of the headers, here and nowhere else; the package comment of broker says
// what each is for.
const (
	headerPrefix  = holdfast.ReservedHeader
	headerKind    = "holdfast-kind"
	headerVersion = "holdfast-version"
	headerTx      = "holdfast-tx"
	headerGroup   = "holdfast-group"
	headerKey     = "holdfast-key"
	headerTopic   = "holdfast-topic"
	headerUser    = "holdfast-header-" // begins the name of a header that RabbitMQ would act on, or take for its own
	// headerClaim is put in the place of holdfast-kind where that does not count: it
	// says what the record claims to be.
	headerClaim = "holdfast-claimed-kind"

	// Of half records.
	headerLane     = "holdfast-lane"     // express, or none
	headerDatabase = "holdfast-database" // the identity of the transaction's database

	// Of dead letters, in addition to those of the delivery.
	headerConsumer   = "holdfast-consumer"
	headerQueue      = "holdfast-queue"
	headerReason     = "holdfast-reason"
	headerErrorClass = "holdfast-error-class"
	headerAttempts   = "holdfast-attempts"
	headerDeadAt     = "holdfast-dead-at"
	headerExchange   = "holdfast-exchange"
	headerRoutingKey = "holdfast-routing-key"
	headerExpiration = "holdfast-expiration"
	headerUserID     = "holdfast-user-id"
	headerCut        = "holdfast-headers-cut"

	// Of retries; a dead letter has some of them, too.
	headerLost       = "holdfast-lost"        // redeliveries since an attempt last returned
	headerLog        = "holdfast-attempt-log" // JSON of []holdfast.Attempt, bounded
	headerPolicy     = "holdfast-policy"      // holdfast.Policy.String
	headerRedelivery = "holdfast-redelivery"  // number of the operator's redelivery
	headerHops       = "holdfast-hops"        // how often it still waits for the longest delay before it is tried
	headerLong       = "holdfast-long"        // somebody was told that the message waits for long

	// Of a handled record that was put off.
	headerLate = "holdfast-late"

	// Of an edited redelivery.
	headerEditedBy = "holdfast-edited-by"
	headerOriginal = "holdfast-original-sha256" // of the body before the edit, in hex

	// Of the records that the intake puts back.
	headerKept      = "holdfast-kept"   // the queue that has the whole message
	headerWholeSize = "holdfast-size"   // of the whole body, where headerKept is set
	headerLetter    = "holdfast-letter" // the dead letter's ID, where there is no message-id
	headerCopy      = "holdfast-copy"   // the dead letter's Copy, in a redelivery and its answers

	// Of a compensation notice. Those of its own retries are others.
	headerOf         = "holdfast-of"
	headerOfConsumer = "holdfast-of-consumer"
	headerOfReason   = "holdfast-of-reason"
	headerOfClass    = "holdfast-of-error-class"

	// Of a saga's call. The queue for the reply is the property reply-to.
	headerSaga     = "holdfast-saga"
	headerWorkflow = "holdfast-saga-workflow"
	headerStep     = "holdfast-step"
	headerStepOp   = "holdfast-op"
	headerCause    = "holdfast-cause"
	headerAgain    = "holdfast-again"
	headerReplies  = "holdfast-replies"
	headerToken    = "holdfast-token"
	headerContent  = "holdfast-saga-content"

	// Of a status request.
	headerWant  = "holdfast-want"
	headerPeek  = "holdfast-peek"  // how many half messages of holdfast-group to tell
	headerProbe = "holdfast-probe" // the consumers whose breakers are to try a message, as JSON
)

// Values of the header holdfast-kind.
const (
	kindHalf        = "half"
	kindOp          = "op"
	kindHandled     = "handled"     // in the queue of dead letters: a redelivery was handled
	kindCompensated = "compensated" // a compensation notice
	kindReply       = "reply"
	kindCheck       = "check"
	kindAlert       = "alert"
	kindStatus      = "status" // of requests and of answers
	kindHello       = "hello"  // to all processes: ask me who I am
)

// Values of other headers.
const (
	version       = "1"
	opDo          = "do"
	opUndo        = "undo"
	wantConsumers = "consumers"
	wantKeepers   = "keepers" // a hello of a process that hands half messages over
)

const contentJSON = "application/json"

// describes reports whether a header of ours says something of a message, and
// commands nothing. Whoever publishes to a topic may ask a participant for a saga's
// step: his reply goes to that saga's group, and counts there only with its token.
func describes(name string) bool {
	switch name {
	case headerVersion, headerTx, headerGroup, headerTopic, headerKey, headerClaim,
		headerSaga, headerWorkflow, headerStep, headerStepOp, headerCause, headerAgain, headerReplies, headerToken, headerContent:
		return true
	}
	return strings.HasPrefix(name, headerUser)
}

// copied reports whether a header says where a message was first published, of
// which this is a copy.
func copied(name string) bool {
	switch name {
	case headerExchange, headerRoutingKey, headerExpiration, headerUserID, headerCut:
		return true
	}
	return describes(name)
}

// ofNotice reports whether a header is a compensation notice's.
func ofNotice(name string) bool {
	switch name {
	case headerOf, headerOfConsumer, headerOfReason, headerOfClass:
		return true
	}
	return false
}

// ofHalf reports whether a header says something of a half record's transaction.
func ofHalf(name string) bool { return name == headerLane || name == headerDatabase }

// ofGivenUp reports whether a header says how somebody came to give a message up.
func ofGivenUp(name string) bool {
	switch name {
	case headerQueue, headerErrorClass, headerDeadAt, headerConsumer, headerReason, headerAttempts, headerLost, headerLog:
		return true
	}
	return copied(name) || ofHalf(name)
}

// ofKept reports whether a header says that the whole message is elsewhere: it
// forbids more than it commands.
func ofKept(name string) bool {
	return name == headerKept || name == headerWholeSize || name == headerLetter
}

// ofRetry reports whether a header says how often a message was tried.
func ofRetry(name string) bool {
	switch name {
	case headerConsumer, headerReason, headerAttempts, headerLost, headerLog, headerRedelivery, headerCopy:
		return true
	}
	return copied(name) || ofHalf(name)
}

// ofDeath reports whether a header is about a message's retries and its death,
// and not part of the message.
func ofDeath(name string) bool {
	switch name {
	case headerConsumer, headerQueue, headerReason, headerErrorClass, headerAttempts, headerDeadAt,
		headerExchange, headerRoutingKey, headerLost, headerLog, headerPolicy, headerRedelivery,
		headerKept, headerWholeSize, headerLetter, headerCopy, headerHops, headerLong:
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
		return headerUser + name
	}
	return name
}

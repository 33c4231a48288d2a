package holdfast

import (
	"context"
	"time"
)

// Delivery is what a handler may know of the delivery that it handles, beside the message:
// see [DeliveryFrom].
type Delivery struct {
	// Consumer names the consumer or the participant.
	Consumer string
	// MessageID is the message's ID, Topic its topic. Of a compensation notice they are
	// the notice's.
	MessageID, Topic string
	// TxID and Group are the message's transaction and its producer group; both are empty
	// if a foreign publisher sent it.
	TxID, Group string
	// Attempt counts the attempts of this message that failed, and this one; it begins anew
	// with each redelivery by an operator, whose number is Redelivery; 0: none.
	Attempt, Redelivery int
	// Redelivered says that RabbitMQ has delivered it before, perhaps to another process:
	// what that did with it is not known. Its effects that were committed are not repeated.
	Redelivered bool
	// FirstPublished is when the message was published at first, in whole seconds, by its
	// publisher's clock: retries and redeliveries do not change it. Zero if a foreign
	// publisher did not say. It is for people and measurements: another clock may be wrong.
	FirstPublished time.Time
	// CorrelationID, CausationID and the others are the message's: see [Message].
	CorrelationID, CausationID, Type, ContentEncoding, ReplyTo, AppID string
	Priority                                                          uint8
	// TTL is how long the message might wait for its first delivery; 0: for ever.
	TTL time.Duration
	// Saga and Step are the saga and its step that ask a participant. They are empty for a
	// consumer.
	Saga, Step string
	// Undo says that it is the Undo that is called: of a participant, since the step is to
	// be undone, or of a consumer, since the message was compensated.
	Undo bool
}

type deliveryKey struct{}

// WithDelivery returns a context in which [DeliveryFrom] finds d. A worker's handlers have
// one; tests of a handler may make their own.
func WithDelivery(ctx context.Context, d Delivery) context.Context {
	return context.WithValue(ctx, deliveryKey{}, d)
}

// DeliveryFrom returns the delivery that a handler handles, by the handler's context. ok is
// false where ctx is not one of a handler, nor derived from one.
func DeliveryFrom(ctx context.Context) (d Delivery, ok bool) {
	d, ok = ctx.Value(deliveryKey{}).(Delivery)
	return d, ok
}

package consumer

import (
	"fmt"
	"math"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// DefaultConsumerTimeout is RabbitMQ's consumer_timeout where nobody has changed it.
const DefaultConsumerTimeout = 30 * time.Minute

// holds is how long a consumer may hold a message: its immediate tries, each of which
// takes all its time.
func (o Subscription) holds() time.Duration {
	if o.HandlerTimeout > math.MaxInt64/time.Duration(max(o.Tries, 1)) {
		return math.MaxInt64
	}
	return time.Duration(o.Tries) * o.HandlerTimeout
}

// ConsumerTimeout is a limit on how long a consumer may hold a message, and who says so.
type ConsumerTimeout struct {
	Limit time.Duration
	Of    string
}

// KnownConsumerTimeout is the limit that a process knows of: what its options say, or
// else RabbitMQ's default. RabbitMQ does not tell it over AMQP.
func KnownConsumerTimeout(said time.Duration) ConsumerTimeout {
	if said != 0 {
		return ConsumerTimeout{said, "as Options.Timeouts.Consumer says"}
	}
	return ConsumerTimeout{DefaultConsumerTimeout, "its default, assumed, since it does not tell"}
}

// HeldTooLong says what is wrong where a consumer may hold a message for longer than
// RabbitMQ lets it, and what to do; "" if nothing is.
func (l ConsumerTimeout) HeldTooLong(holds time.Duration) (what, remedy string) {
	if l.Limit < 0 || holds <= l.Limit {
		return "", ""
	}
	return fmt.Sprintf("it may hold a message for %s (Timeout times Tries), and RabbitMQ's consumer_timeout is %s "+
			"(%s): a consumer that holds one longer is cut off, "+
			"and the message is delivered again while its handler still runs", wire.DelayName(holds),
			wire.DelayName(l.Limit), l.Of),
		"lower the consumer's Timeout or Tries so that their product is below it; or raise consumer_timeout in " +
			"rabbitmq.conf " +
			"(`rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'` shows it in milliseconds), and " +
			"tell the processes by Options.Timeouts.Consumer"
}

// warnOfTimeout says it at the consumer's beginning.
func (c *Consumer) warnOfTimeout() {
	if what, remedy := KnownConsumerTimeout(c.Limit).HeldTooLong(c.O.holds()); what != "" {
		c.Log.Warn(what, "remedy", remedy)
	}
}

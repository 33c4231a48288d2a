package consumer

import (
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// misled says why a message is not handled that came to a consumer which does not
// listen to its topic, as far as somebody may have wanted that: by a claim to be a
// compensation notice, by a binding that is left of those for notices, or by a
// header CC, of which RabbitMQ does not ask whether the publisher may.
func (c *Consumer) misled(d *amqp.Delivery) error {
	exchange, key := wire.PublishedTo(d)
	claims := wire.HeaderText(d.Headers[wire.HeaderClaim]) == wire.KindCompensated
	if exchange == "" {
		if claims {
			return wire.Malformed("it claims to be a compensation notice, but somebody has put it into the queue "+
				"%s: notices come through the exchange %s; if processes of an older version still run, set "+
				"RollingUpgrade",
				c.Queue, c.Client.NoticesExchange())
		}
		return nil
	}
	noticed := claims || strings.HasSuffix(key, holdfast.CompensatedSuffix)
	copied := d.Headers["CC"] != nil || d.Headers[wire.HeaderUser+"CC"] != nil
	if exchange != c.Client.TopicsExchange() || !noticed && !copied || wire.Listens(c.O.Topics, key) {
		return nil
	}
	if noticed {
		return wire.Malformed("consumer %s does not listen to topic %s, to which older versions published "+
			"compensation notices: remove that binding of its queue; notices come through the exchange %s; if "+
			"processes of an older version still run, set RollingUpgrade",
			c.O.Name, wire.Clip(key, wire.MaxText), c.Client.NoticesExchange())
	}
	return wire.Malformed("consumer %s does not listen to topic %s: the message came by a header CC, which names "+
		"topics past RabbitMQ's permissions; publish to each topic instead", c.O.Name, wire.Clip(key, wire.MaxText))
}

package link

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// What RabbitMQ 3.10 and 4 say of a missing right.
func TestRightOf(t *testing.T) {
	guess := func(kind, name string) string { return "guess " + kind + " " + name + ":" }
	for reason, want := range map[string]string{
		"ACCESS_REFUSED - access to queue 'a.q.x' in vhost '/' refused for user 'u'":                                "guess queue a.q.x: permission for queue a.q.x",
		"ACCESS_REFUSED - read access to queue 'a.q.x' in vhost '/' refused for user 'u'":                           "read permission for queue a.q.x",
		"ACCESS_REFUSED - access to topic 'order.x' in exchange 'a.topics' in vhost '/' refused for user 'u'":       "guess topic order.x: permission for topic order.x of exchange a.topics",
		"ACCESS_REFUSED - write access to topic 'order.x' in exchange 'a.topics' in vhost '/' refused for user 'u'": "write permission for topic order.x of exchange a.topics",
	} {
		r, ok := RightOf(fmt.Errorf("wrapped: %w", &amqp.Error{Code: amqp.AccessRefused, Reason: reason}), guess)
		require.True(t, ok)
		require.Equal(t, want, r.String())
	}
	for _, err := range []error{nil, amqp.ErrClosed, &amqp.Error{Code: amqp.AccessRefused, Reason: "ACCESS_REFUSED - Login was refused"},
		&amqp.Error{Code: amqp.NotFound, Reason: "read access to queue 'x'"}} {
		_, ok := RightOf(err, guess)
		require.False(t, ok)
	}
}

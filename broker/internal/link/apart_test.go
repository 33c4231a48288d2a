package link

import (
	"errors"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/addresses"
)

// A record is suspected of what RabbitMQ closed the connection over, and not of what
// takes every connection down.
func TestSuspects(t *testing.T) {
	about := &amqp.Error{Code: amqp.FrameError, Server: true}
	for name, c := range map[string]struct {
		losses []error
		want   bool
	}{
		"never":        {nil, false},
		"closed once":  {[]error{about}, false},
		"closed twice": {[]error{about, about}, true},
		"wrapped":      {[]error{fmt.Errorf("lost: %w", about), about}, true},
		"an exchange is missing": {[]error{&amqp.Error{Code: amqp.NotFound, Server: true},
			&amqp.Error{Code: amqp.NotFound, Server: true}}, false},
		"RabbitMQ stops": {[]error{&amqp.Error{Code: amqp.ConnectionForced, Server: true},
			&amqp.Error{Code: amqp.ConnectionForced, Server: true}}, false},
		"this side has closed it": {[]error{&amqp.Error{Code: amqp.FrameError},
			&amqp.Error{Code: amqp.FrameError}}, false},
		"cut four times": {[]error{amqp.ErrClosed, errors.New("oops"), nil, errors.New("oops")}, false},
		"cut five times without a word": {[]error{amqp.ErrClosed, errors.New("oops"), nil, errors.New("oops"),
			errors.New("oops")}, true},
	} {
		var m Publication
		for _, err := range c.losses {
			m.blamed(err)
		}
		require.Equal(t, c.want, m.suspect(), name)
	}
}

// What was refused goes apart for a while: the record, or all that go the same way.
func TestKnownToBeApart(t *testing.T) {
	a := &apart{known: map[string]time.Time{}}
	record := func(key, id string) *Publication {
		return &Publication{Exchange: "e", Key: key, Msg: amqp.Publishing{MessageId: id}}
	}
	bad := record("k", "bad")
	bad.err = holdfast.ErrInvalid
	a.refused(bad)
	require.True(t, a.knows(record("k", "bad")))
	require.False(t, a.knows(record("k", "good")))
	require.False(t, a.knows(record("other", "bad")))
	secret := record("secret", "s")
	secret.err = fmt.Errorf("%w: %w", ErrNotSent, &holdfast.UnavailableError{Err: errors.New("403")})
	a.refused(secret)
	require.True(t, a.knows(record("secret", "another")), "all that go there")
	a.forget(record("secret", "another"))
	require.False(t, a.knows(secret))
	a.known[recordOf(bad)] = time.Now().Add(-time.Second)
	require.False(t, a.knows(bad), "long ago")

	for i := range maxApart + 1 {
		a.Remember(fmt.Sprint(i))
	}
	require.LessOrEqual(t, len(a.known), maxApart)
	require.EqualValues(t, len(a.known), a.n.Load())
	for id := range a.known {
		a.known[id] = time.Now().Add(-time.Second)
	}
	a.Remember("last")
	require.Len(t, a.known, 1, "what is over is forgotten")
}

// A channel that was closed for want of a right is about the record that went there, and
// about no other one that was in flight.
func TestForbidden(t *testing.T) {
	list, err := addresses.Parse("amqp://h/")
	require.NoError(t, err)
	l := &Connection{o: Options{Addresses: addresses.NewRing(list)}}
	topic := "ACCESS_REFUSED - access to topic 'secret.x' in exchange 'hf.topics' in vhost '/' refused for user 'u'"
	exchange := "ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'u'"
	for name, c := range map[string]struct {
		code   int
		reason string
		m      Publication
		want   bool
	}{
		"that topic":           {amqp.AccessRefused, topic, Publication{Exchange: "hf.topics", Key: "secret.x"}, true},
		"another topic":        {amqp.AccessRefused, topic, Publication{Exchange: "hf.topics", Key: "order.x"}, false},
		"another exchange":     {amqp.AccessRefused, topic, Publication{Exchange: "hf.half", Key: "secret.x"}, false},
		"the default exchange": {amqp.AccessRefused, exchange, Publication{Key: "q"}, true},
		"not for want of it": {amqp.PreconditionFailed, topic, Publication{Exchange: "hf.topics", Key: "secret.x"},
			false},
	} {
		err := l.forbidden(&amqp.Error{Code: c.code, Reason: c.reason, Server: true}, &c.m)
		require.Equal(t, c.want, err != nil, name)
		if c.want {
			require.ErrorIs(t, err, ErrNotSent, name)
			require.Equal(t, RefusedForbidden, whyRefused(err), name)
		}
	}
	require.Equal(t, RefusedLimit, whyRefused(fmt.Errorf("x: %w", holdfast.ErrTooLarge)))
	require.Equal(t, RefusedClosing, whyRefused(holdfast.ErrInvalid))
}

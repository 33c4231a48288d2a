package broker

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// What was made is not made again, until it may be gone.
func TestLedger(t *testing.T) {
	l := newLedger()
	q, r, status := step{what: "queue q", of: "q"}, step{what: "queue r", of: "r"}, step{what: "queue status", of: "status", brief: true}
	all := []step{q, r, status}
	lacks := func(want ...string) {
		t.Helper()
		var got []string
		for _, s := range l.lacking(append(all, q)) {
			got = append(got, s.of)
		}
		require.Equal(t, want, got)
	}
	lacks("q", "r", "status")
	era := l.now()
	l.add(era, all)
	lacks("status") // it goes by itself
	l.doubt("q")
	lacks("q", "status")
	require.True(t, l.doubted("x", "q"))
	require.False(t, l.doubted("r"))
	l.sure("q")
	require.False(t, l.doubted("q"))
	l.add(era, all)
	l.forget([]step{r})
	lacks("r", "status")
	l.doubt("q")
	require.Greater(t, l.begin(), era)
	require.False(t, l.doubted("q"))
	l.add(era, all) // by who began before RabbitMQ was lost
	lacks("q", "r", "status")

	one, other := &amqp.Connection{}, &amqp.Connection{}
	l.attest(one, true)
	l.attest(other, false)
	require.Len(t, l.attesting(), 2)
	l.attest(other, true)
	require.Equal(t, []*amqp.Connection{other}, l.attesting(), "the others were there before that")
}

package topology

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// What was made is not made again, until it may be gone.
func TestLedger(t *testing.T) {
	l := newLedger()
	q, r, status := Step{What: "queue q", Of: "q"}, Step{What: "queue r", Of: "r"}, Step{What: "queue status", Of: "status", brief: true}
	all := []Step{q, r, status}
	lacks := func(want ...string) {
		t.Helper()
		var got []string
		for _, s := range l.lacking(append(all, q)) {
			got = append(got, s.Of)
		}
		require.Equal(t, want, got)
	}
	lacks("q", "r", "status")
	era := l.now()
	l.add(era, all)
	lacks("status") // it goes by itself
	l.Doubt("q")
	lacks("q", "status")
	require.True(t, l.Doubted("x", "q"))
	require.False(t, l.Doubted("r"))
	l.sure("q")
	require.False(t, l.Doubted("q"))
	l.add(era, all)
	l.Forget([]Step{r})
	lacks("r", "status")
	l.Doubt("q")
	require.Greater(t, l.begin(), era)
	require.False(t, l.Doubted("q"))
	l.add(era, all) // by who began before RabbitMQ was lost
	lacks("q", "r", "status")

	one, other := &amqp.Connection{}, &amqp.Connection{}
	l.attest(one, true)
	l.attest(other, false)
	require.Len(t, l.attesting(), 2)
	l.attest(other, true)
	require.Equal(t, []*amqp.Connection{other}, l.attesting(), "the others were there before that")
}

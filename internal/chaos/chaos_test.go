package chaos

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestChaos sends many transactions from several processes while these, the
// Keepers, the consumers, RabbitMQ, PostgreSQL and Temporal are killed, and
// connections are cut. Local transactions fail, panic, take long, lose their
// callers and change their messages; chosen IDs are sent twice. At the end both
// databases agree for each transaction, nobody was told what is not so, and nothing
// is left in any queue.
//
// HOLDFAST_SEED repeats the choices of a run, HOLDFAST_CHAOS and HOLDFAST_KILLS
// change its size.
func TestChaos(t *testing.T) {
	seed := uint64(number(t, "HOLDFAST_SEED", int(rand.Uint32())))
	calls := number(t, "HOLDFAST_CHAOS", 6_000)
	kills := number(t, "HOLDFAST_KILLS", max(len(deck), calls/4000))
	t.Logf("HOLDFAST_SEED=%d HOLDFAST_CHAOS=%d HOLDFAST_KILLS=%d go test -run TestChaos ./internal/chaos", seed, calls, kills)

	w := newWorld(t, seed, calls)
	w.spawnAll()
	began := time.Now()
	w.rage(newKills(seed, calls, kills))
	w.awaitEnd()
	t.Logf("%d calls in %v, killed: %v", calls, time.Since(began).Round(time.Second), w.tally())
	w.rest()
	t.Logf("at rest after %v", time.Since(began).Round(time.Second))
	w.closeAll()
	w.empty()
	w.audit()
	if t.Failed() {
		for _, s := range w.slots {
			t.Log(s.said())
		}
	}
}

// number is that of an environment variable.
func number(t *testing.T, name string, otherwise int) int {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 32)
	require.NoError(t, err, name)
	return int(n)
}

// TestPlan: a call is found again by its reference, whoever repeats it.
func TestPlan(t *testing.T) {
	for n := range 300 {
		calls, _ := newCalls(42, 1, n)
		for _, c := range calls {
			require.Equal(t, n, c.N)
			for range 3 {
				got, err := planned(42, c.Ref)
				require.NoError(t, err)
				require.Equal(t, c, got)
				c = c.again()
			}
		}
	}
	_, err := planned(42, "1-2-other")
	require.ErrorContains(t, err, "no call is planned")
}

package addresses

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func list(t *testing.T, urls string) List {
	t.Helper()
	l, err := Parse(urls)
	require.NoError(t, err)
	return l
}

func TestRing(t *testing.T) {
	t.Parallel()
	r := NewRing(list(t, "amqp://a,amqp://b,amqp://c"))
	now := time.Now()
	require.Equal(t, []int{0, 1, 2}, r.Order(now))
	r.Used(1)
	require.Equal(t, []int{1, 2, 0}, r.Order(now), "what is used stays first")
	r.Failed(1, now)
	require.Equal(t, []int{2, 0, 1}, r.Order(now), "what failed is last")
	r.Failed(2, now.Add(time.Second))
	require.Equal(t, []int{0, 1, 2}, r.Order(now.Add(time.Second)), "the longest ago first")
	r.Used(0)
	require.Equal(t, []int{0, 1, 2}, r.Order(now.Add(time.Second)))
	r.Failed(0, now.Add(2*time.Second))
	require.Equal(t, []int{1, 2, 0}, r.Order(now.Add(2*time.Second)), "none is left out")
	require.Equal(t, []int{1, 2, 0}, r.Order(now.Add(SkipFor)), "after a while it is as the others")
	require.Equal(t, []int{0, 1, 2}, r.Order(now.Add(SkipFor+3*time.Second)))
}

// Each process has an order of its own: a fleet spreads over the addresses.
func TestRingShuffles(t *testing.T) {
	t.Parallel()
	l := list(t, "amqp://a,amqp://b,amqp://c")
	first := map[string]bool{}
	for len(first) < len(l) {
		first[NewRing(l).All()[0].Where()] = true
	}
	require.Equal(t, "a:5672, b:5672, c:5672", l.Where(), "the list itself stays")
}

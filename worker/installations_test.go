package worker_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// TestInstallationsThatMeet: a process tells that its task queue is another
// installation's, too, and runs.
func TestInstallationsThatMeet(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	other, err := broker.Open(t.Context(), broker.Options{URL: s.at.AMQPURL, Prefix: s.at.Prefix + ".north"})
	require.NoError(t, err)
	defer func() { _ = other.Close(s.ctx()) }()
	require.NoError(t, other.DeclareGroup(t.Context(), group))
	o := s.options()
	o.Group = "north." + group
	t.Cleanup(func() {
		p := other.DeadQueue()
		stacktest.DeleteQueues(t, s.at.AMQPURL, other.HalfQueue(group), p, p+".expired", p+".oversized", other.RetryQueue(10_000_000_000), s.at.Prefix+".half."+o.Group)
	})
	s.run(o)
	mine, err := broker.Open(t.Context(), broker.Options{URL: s.at.AMQPURL, Prefix: s.at.Prefix})
	require.NoError(t, err)
	defer func() { _ = mine.Close(s.ctx()) }()
	until(t, "doctor hears of it", func() bool {
		all, err := mine.Ask(s.ctx(), 0)
		return err == nil && len(all) == 1 && len(all[0].Troubles) == 1 &&
			strings.Contains(all[0].Troubles[0].What, "is also that of group orders with the prefix "+other.TopicsExchange()[:len(s.at.Prefix)+len(".north")])
	})
}

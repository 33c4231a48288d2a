package worker_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
)

// Through a pooler of transactions a process that prepares statements is refused at its
// start, with what to set; with that, all Sends work.
func TestThroughAPooler(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	through := stacktest.Pgbouncer(t, s.at.OrdersURL, "transaction", 5)
	o := s.options()
	o.DB = openDB(t, through)
	w, err := worker.New(o)
	require.NoError(t, err)
	err = w.Run(s.ctx())
	require.ErrorIs(t, err, holdfast.ErrInvalid, "at once: waiting does not change it")
	require.ErrorContains(t, err, "default_query_exec_mode=exec")

	s.consuming(payments(s.effects))
	o.DB = openDB(t, through+"&default_query_exec_mode=exec")
	r := s.run(o)
	var wg sync.WaitGroup
	errs := make([]error, 120)
	for i := range errs {
		m := order(newID())
		m.Lane = []holdfast.Lane{holdfast.Express, holdfast.Traced}[i%2]
		if i%3 == 0 {
			m.ID = ""
		}
		wg.Go(func() { _, errs[i] = r.Send(s.ctx(), m, insert) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, len(errs), s.count(s.orders, "SELECT count(*) FROM orders"))
}

package worker_test

import (
	"context"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"google.golang.org/grpc"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
)

var startedBefore = regexp.MustCompile(`StartTime < "[^"]*"`)

// looking is a client of Temporal that counts how often a saga is looked for.
func (s *site) looking() (c client.Client, looks *atomic.Int32) {
	s.t.Helper()
	looks = &atomic.Int32{}
	count := func(ctx context.Context, method string, in, out any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
		if strings.HasSuffix(method, "/DescribeWorkflowExecution") {
			looks.Add(1)
		}
		if list, ok := in.(*workflowservice.ListWorkflowExecutionsRequest); ok { // what begins now began long ago
			list.Query = startedBefore.ReplaceAllString(list.Query, `StartTime < "2999-01-01T00:00:00Z"`)
		}
		return invoke(ctx, method, in, out, conn, o...)
	}
	c, err := client.Dial(client.Options{HostPort: s.at.Temporal, Namespace: s.at.Namespace, Logger: sdklog.NewStructuredLogger(s.log()),
		ConnectionOptions: client.ConnectionOptions{DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(count)}}})
	require.NoError(s.t, err)
	s.t.Cleanup(c.Close)
	return c, looks
}

// looks is how often sagas of these keys, which end well, are looked for.
func (s *site) looks(o worker.Options, def saga.Saga[journey], keys ...string) int {
	s.t.Helper()
	c, looks := s.looking()
	o.Temporal = c
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	before := looks.Load()
	for _, key := range keys {
		h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: key})
		require.NoError(s.t, err)
		require.NoError(s.t, wait(s, h))
	}
	after := looks.Load()
	w.stop()
	return int(after - before)
}

func (s *site) beginRows(name string) barrier.BeginRows {
	s.t.Helper()
	r, err := barrier.ReadBeginRows(s.ctx(), s.orders, barrier.SagaName{Prefix: s.at.Prefix, Group: group, Name: name})
	require.NoError(s.t, err)
	return r
}

// A saga is looked for in Temporal only where it may have a workflow that took no begin row: there
// have been, or are, processes that start such.
func TestWhenASagaIsLookedFor(t *testing.T) {
	t.Parallel()
	one := travel(local("a"))
	waits := saga.Wait("approve", time.Hour)
	for name, c := range map[string]struct {
		before func(s *site)
		def    saga.Saga[journey]
		looks  bool
	}{
		"all have begin rows":            {def: one},
		"an earlier version has run":     {def: one, looks: true, before: func(s *site) { s.listed(s.startOld(one, journey{ID: newID()})) }},
		"one runs beside":                {def: one, looks: true, before: func(s *site) { s.looks(s.rolling(), one) }},
		"one has run, and all is gone":   {def: one, before: func(s *site) { s.looks(s.rolling(), one); s.passes("10 years") }},
		"one has run, and all is closed": {def: one, looks: true, before: func(s *site) { s.looks(s.rolling(), one); s.passes("1 hour") }},
		"one has run, and left one open": {def: one, looks: true, before: func(s *site) {
			s.listed(s.startOld(travel(waits), journey{ID: newID()}))
			s.looks(s.rolling(), one)
			s.passes("10 years")
		}},
		"a version without local step": {def: one, looks: true, before: func(s *site) { s.looks(s.options(), travel(waits)) }},
		"a version that waits first":   {def: one, before: func(s *site) { s.looks(s.options(), travel(waits, local("a"))) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sagaSite(t)
			s.cohorts = true
			if c.before != nil {
				c.before(s)
			}
			looks := s.looks(s.options(), c.def, newID(), newID(), newID())
			if c.looks {
				require.Equal(t, 6, looks, "by its ID, and by the one from before the prefix was part of it")
				require.False(t, s.beginRows("travel").Always)
				return
			}
			require.Zero(t, looks)
			require.True(t, s.beginRows("travel").Always)
		})
	}
}

func (s *site) rolling() worker.Options {
	o := s.options()
	o.RollingUpgrade = true
	return o
}

// passes has time pass since it was noted that each saga has a begin row.
func (s *site) passes(interval string) {
	s.t.Helper()
	s.looks(s.options(), travel(local("a")), newID()) // which notes it
	require.NoError(s.t, s.orders.Exec("UPDATE holdfast_sagas SET rows_since = now() - ?::interval", interval).Error)
}

// listed waits until Temporal lists a workflow.
func (s *site) listed(id string) {
	s.t.Helper()
	until(s.t, "it is listed", func() bool {
		page, err := s.temporal.ListWorkflow(s.ctx(), &workflowservice.ListWorkflowExecutionsRequest{Query: "WorkflowId = '" + id + "'"})
		return err == nil && len(page.GetExecutions()) == 1
	})
}

// A version of a saga that begins with a wait takes the begin row, too: a process that has another
// version, whose sagas share workflows, finds by that what was started of the one.
func TestSagaOfAVersionThatWaitsFirst(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	def, next := travel(local("a")), travel(saga.Wait("approve", time.Hour), local("b"))
	next.Version = 2
	o := s.options()
	temporal, looks := s.looking()
	o.Temporal = temporal
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: newID()})
	require.NoError(t, err)
	require.NoError(t, wait(s, h)) // from now on it does not look
	newer := s.agency(def, next)
	j := journey{ID: newID()}
	started, err := worker.StartSaga(s.ctx(), newer.Worker, next, j)
	require.NoError(t, err)
	s.awaitStanding(started.ID(), core.StateWaiting)

	before := looks.Load()
	joined, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	require.Equal(t, before, looks.Load())
	require.Equal(t, started.ID(), joined.ID())
	require.NoError(t, joined.Approve(s.ctx(), "approve", nil, worker.By{Operator: "ann", Reason: "fair"}))
	require.NoError(t, wait(s, started))
	require.Equal(t, []string{"do b"}, s.logged(s.orders, j.ID))
}

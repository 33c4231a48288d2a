package worker_test

import (
	"errors"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

var startedBefore = regexp.MustCompile(`StartTime < "[^"]*"`)

// lookedFor are the keys of sagas that were looked for in Temporal before they had begun.
type lookedFor struct {
	mu   sync.Mutex
	keys map[string]bool
}

func (l *lookedFor) has(keys ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		if l.keys[key] {
			n++
		}
	}
	return n
}

// looking is a client of Temporal that notes which sagas are looked for.
func (s *site) looking() (client.Client, *lookedFor) {
	s.t.Helper()
	l := &lookedFor{keys: map[string]bool{}}
	return s.dial(&cable{before: func(req any) {
		switch req := req.(type) {
		case *workflowservice.DescribeWorkflowExecutionRequest:
			id := req.GetExecution().GetWorkflowId()
			if _, err := barrier.ReadBegun(s.ctx(), s.orders, id); errors.Is(err, holdfast.ErrNotFound) {
				known, _ := workflows.ParseID(id)
				l.mu.Lock()
				defer l.mu.Unlock()
				l.keys[known.Key] = true
			}
		case *workflowservice.ListWorkflowExecutionsRequest: // what begins now began long ago
			req.Query = startedBefore.ReplaceAllString(req.Query, `StartTime < "2999-01-01T00:00:00Z"`)
		}
	}}), l
}

// looks is how many sagas of these keys, which end well, are looked for.
func (s *site) looks(o worker.Options, def saga.Saga[journey], keys ...string) int {
	s.t.Helper()
	c, l := s.looking()
	o.Temporal = c
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	for _, key := range keys {
		h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: key})
		require.NoError(s.t, err)
		require.NoError(s.t, wait(s, h))
	}
	w.stop()
	return l.has(keys...)
}

func (s *site) sagaName(name string) barrier.SagaName {
	return barrier.SagaName{Prefix: s.at.Prefix, Group: group, Name: name}
}

// A saga is looked for in Temporal only where it may have a workflow that took no begin row: there
// have been, or are, processes that start such.
func TestWhenASagaIsLookedFor(t *testing.T) {
	t.Parallel()
	one := travel(local("a"))
	waits := saga.Wait("approve", time.Hour)
	for name, c := range map[string]struct {
		before func(s *site)
		looks  bool
	}{
		"all have begin rows":            {},
		"an earlier version has run":     {looks: true, before: func(s *site) { s.listed(s.startOld(one, journey{ID: newID()})) }},
		"one runs beside":                {looks: true, before: func(s *site) { s.looks(s.rolling(), one) }},
		"one has run, and all is gone":   {before: func(s *site) { s.looks(s.rolling(), one); s.passes("10 years") }},
		"one has run, and all is closed": {looks: true, before: func(s *site) { s.looks(s.rolling(), one); s.passes("1 hour") }},
		"one has run, and left one open": {looks: true, before: func(s *site) {
			s.listed(s.startOld(travel(waits), journey{ID: newID()}))
			s.looks(s.rolling(), one)
			s.passes("10 years")
		}},
		"a version without local step": {looks: true, before: func(s *site) { s.looks(s.options(), travel(waits)) }},
		"a version that waits first":   {before: func(s *site) { s.looks(s.options(), travel(waits, local("a"))) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sagaSite(t)
			s.cohorts = true
			if c.before != nil {
				c.before(s)
			}
			looks := s.looks(s.options(), one, newID(), newID(), newID())
			noted, err := barrier.ReadBeginRows(s.ctx(), s.orders, s.sagaName("travel"))
			require.NoError(t, err)
			require.Equal(t, !c.looks, noted.Always)
			if c.looks {
				require.Equal(t, 3, looks)
				return
			}
			require.Zero(t, looks)
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
	c, l := s.looking()
	o.Temporal = c
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: newID()})
	require.NoError(t, err)
	require.NoError(t, wait(s, h)) // from now on it does not look
	newer := s.agency(def, next)
	j := journey{ID: newID()}
	started, err := worker.StartSaga(s.ctx(), newer.Worker, next, j)
	require.NoError(t, err)
	s.awaitStanding(started.ID(), core.StateWaiting)

	joined, err := worker.StartSaga(s.ctx(), w.Worker, def, j)
	require.NoError(t, err)
	require.Zero(t, l.has(j.ID))
	require.Equal(t, started.ID(), joined.ID())
	require.NoError(t, joined.Approve(s.ctx(), "approve", nil, worker.By{Operator: "ann", Reason: "fair"}))
	require.NoError(t, wait(s, started))
	require.Equal(t, []string{"do b"}, s.logged(s.orders, j.ID))
}

// Where Temporal does not list sagas, each is looked for, and nothing is noted.
func TestSagasThatAreNotListed(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.cohorts = true
	o := s.options()
	o.Temporal = s.dial(&cable{refuse: func(req any) bool {
		_, lists := req.(*workflowservice.ListWorkflowExecutionsRequest)
		return lists
	}})
	def := travel(local("a"))
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	id := s.startOld(travel(saga.Wait("approve", time.Hour), local("a")), journey{ID: newID()})
	known, _ := workflows.ParseID(id)
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: known.Key})
	require.NoError(t, err)
	require.NoError(t, h.Approve(s.ctx(), "approve", nil, worker.By{Operator: "ann", Reason: "fair"}))
	require.NoError(t, wait(s, h))
	require.Equal(t, []string{"do a"}, s.logged(s.orders, known.Key))
	_, err = barrier.ReadBeginRows(s.ctx(), s.orders, s.sagaName("travel"))
	require.ErrorIs(t, err, holdfast.ErrNotFound)
}

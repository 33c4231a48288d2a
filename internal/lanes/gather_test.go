package lanes

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

func waiter(id string, m holdfast.Message) *gathered {
	m.ID = id
	if m.Topic == "" {
		m.Topic = "order.placed"
	}
	return &gathered{tx: activities.Tx{ID: id, Messages: []holdfast.Message{m}},
		p: newPending(context.Background(), id, activities.Inline, true, nil)}
}

// uuidOf returns an ID as long as those that Send makes.
func uuidOf(n int) string { return fmt.Sprintf("0190a5b4-0000-7000-8000-%012d", n) }

func TestNextCohort(t *testing.T) {
	t.Parallel()
	many := func(n int, m holdfast.Message) (out []*gathered) {
		for i := range n {
			out = append(out, waiter(uuidOf(i), m))
		}
		return out
	}
	next := func(waiting []*gathered, most int) int {
		return (&gatherer{waiting: waiting, most: most, shortIDs: true}).next()
	}
	text := func(n int) []byte { return []byte(strings.Repeat("a", n)) }
	require.Zero(t, next(nil, 48))
	require.Equal(t, 7, next(many(7, holdfast.Message{}), 48))
	require.Equal(t, 20, next(many(60, holdfast.Message{}), 20))
	require.Equal(t, 64, next(many(90, holdfast.Message{}), 90), "their keys are not known yet")
	require.Equal(t, 36, (&gatherer{waiting: many(60, holdfast.Message{}), most: 48}).next(), "as an earlier version finds them")
	require.Equal(t, 9, next(many(60, holdfast.Message{Key: strings.Repeat("k", 200)}), 48),
		"the limit on HoldfastKey")
	require.Equal(t, 3, next(many(60, holdfast.Message{Body: text(120 << 10)}), 48), "512 KiB of messages")
	require.Equal(t, 1, next(many(60, holdfast.Message{Body: text(holdfast.MaxBody)}), 48), "a large one goes alone")
	require.Equal(t, 1, next(append(many(1, holdfast.Message{}),
		many(1, holdfast.Message{Body: text(holdfast.MaxBody)})...), 48))

	mixed := many(60, holdfast.Message{})
	for i := range mixed {
		mixed[i].tx.Messages[0].Topic = fmt.Sprintf("%s.%d", strings.Repeat("t", 40), i)
	}
	require.Less(t, next(mixed, 48), 30, "the topics are findable, too")
}

// TestGatherer: what gathers while two are in flight shares the next, in the
// order of arrival.
func TestGatherer(t *testing.T) {
	t.Parallel()
	var started [][]string
	g := &gatherer{group: "orders", most: 3, room: 2}
	g.start = func(c *cohort) {
		var ids []string
		for _, m := range c.members {
			ids = append(ids, m.tx.ID)
		}
		started = append(started, ids)
	}
	first, second := g.enter(waiter("1", holdfast.Message{})), g.enter(waiter("2", holdfast.Message{}))
	require.Equal(t, workflows.WorkflowID("", "orders", "1"), first.id)
	require.NotNil(t, second)
	var waiting []*gathered
	for i := 3; i <= 8; i++ {
		m := waiter(fmt.Sprint(i), holdfast.Message{})
		require.Nil(t, g.enter(m))
		waiting = append(waiting, m)
	}
	require.Nil(t, g.withdraw(waiting[1]), "4 gives up before it is taken")

	first.answered()
	require.Equal(t, [][]string{{"3", "5", "6"}}, started)
	first.release()
	require.Len(t, started, 1, "it is no longer in flight once")
	taken := g.withdraw(waiting[0])
	require.Equal(t, taken, g.withdraw(waiting[2]))
	require.True(t, strings.HasPrefix(taken.id, "cohort/orders/"))
	taken.answered()
	taken.answered()
	require.Len(t, started, 1, "a caller of it waits still")
	taken.answered()
	require.Equal(t, [][]string{{"3", "5", "6"}, {"7", "8"}}, started)
	second.release() // its grace is over
	require.Len(t, started, 2)
	require.NotNil(t, g.enter(waiter("9", holdfast.Message{})))
	require.Nil(t, g.enter(waiter("10", holdfast.Message{})))
}

// TestNobodyNeedsTheStart: it ends when the last caller has given up.
func TestNobodyNeedsTheStart(t *testing.T) {
	t.Parallel()
	g := &gatherer{room: 1}
	m := waiter("1", holdfast.Message{})
	m.caller = context.Background()
	m.p.deadline = m.p.deadline.AddDate(9000, 0, 0)
	c := g.enter(m)
	ctx, cancel := c.startContext()
	defer cancel()
	require.NoError(t, ctx.Err())
	c.answered()
	require.ErrorIs(t, ctx.Err(), context.Canceled)
}

// TestStartEndsWithItsOnlyCaller: who starts a cohort of one is in it, and cannot
// say that he has given up. One who shares it ends nothing for the others.
func TestStartEndsWithItsOnlyCaller(t *testing.T) {
	t.Parallel()
	for members, want := range map[int]error{1: context.Canceled, 2: nil} {
		g := &gatherer{room: 1}
		caller, leave := context.WithCancel(context.Background())
		var ms []*gathered
		for i := range members {
			m := waiter(fmt.Sprint(i), holdfast.Message{})
			m.caller, m.p.deadline = caller, m.p.deadline.AddDate(9000, 0, 0)
			ms = append(ms, m)
		}
		ctx, cancel := g.form(ms).startContext()
		defer cancel()
		leave()
		require.Equal(t, want, ctx.Err())
	}
}

// ended is a gate that is closed.
type ended struct{ Gate }

func (ended) Over() <-chan struct{} {
	over := make(chan struct{})
	close(over)
	return over
}

func (ended) Ended() error { return holdfast.ErrNotRunning }

// TestGatheringWhenRunEnds: who waits for room in a cohort when Run returns with an
// error is told so.
func TestGatheringWhenRunEnds(t *testing.T) {
	t.Parallel()
	l := New(Options{Group: "orders", MaxCohort: 48}, ended{}, nil, nil)
	m := waiter("x", holdfast.Message{})
	_, err := l.gather(t.Context(), m.p, m.tx, holdfast.Receipt{})
	require.ErrorIs(t, err, holdfast.ErrNotRunning)
}

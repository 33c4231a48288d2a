package broker

import (
	"errors"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// newTestRefusals returns refusals, and what people are told.
func newTestRefusals() (*refusals, *refused) {
	told := &refused{}
	o := Options{OnRefused: told.tell}.withDefaults()
	return newRefusals(o.link()), told
}

// People are told once of a queue that refuses, until it has taken something for a while,
// and it counts as full until then.
func TestFullQueuesAreTold(t *testing.T) {
	r, told := newTestRefusals()
	m := &publication{exchange: "e", key: "order.placed", msg: amqp.Publishing{MessageId: "m"}}
	full := func() int { _, _, full := r.show(time.Now()); return len(full) }
	first := func() int { _, first := told.count(RefusedFull); return first }
	ago := func(took, last time.Duration) {
		q := r.full["q"]
		q.Last = time.Now().Add(-last)
		if q.took = (time.Time{}); took > 0 {
			q.took = time.Now().Add(-took)
		}
		r.count()
	}
	r.held("q")
	r.taken("q")
	require.Zero(t, full())
	r.queue(m, "q", "c")
	r.queue(m, "q", "c")
	r.held("q")
	_, _, all := r.show(time.Now())
	require.Equal(t, []wire.FullQueue{{Queue: "q", Consumer: "c", Refused: 2, Held: 1, Since: all[0].Since, Last: all[0].Last}}, all)
	require.Equal(t, []int{1, 1}, []int{first(), int(r.n.Load())})

	r.taken("other")
	require.Equal(t, 1, full())
	r.taken("q")
	require.Equal(t, []int{0, 0}, []int{full(), int(r.n.Load())})
	r.queue(m, "q", "c")
	require.Equal(t, []int{1, 1}, []int{full(), first()}, "at its limit, it takes one now and then")
	ago(0, fullFor+time.Second)
	require.Zero(t, full(), "nothing was published for it for long")
	r.queue(m, "q", "c")
	require.Equal(t, 2, first())
	ago(fullFor+time.Second, fullFor+2*time.Second)
	r.taken()
	require.Empty(t, r.full, "it is forgotten")
}

// A topic counts as one for which an unknown queue refuses for as long as that is likely.
func TestStrangeTopics(t *testing.T) {
	r, told := newTestRefusals()
	m := &publication{exchange: "e", key: "order.placed"}
	require.False(t, r.isStrange(m))
	r.strange(m)
	require.True(t, r.isStrange(m))
	require.False(t, r.isStrange(&publication{exchange: "e", key: "order.paid"}))
	n, first := told.count(RefusedUnknown)
	require.Equal(t, []int{1, 1}, []int{n, first})
	r.full[strangeName(m)].Last = time.Now().Add(-strangeFor - time.Second)
	require.False(t, r.isStrange(m), "it may have room again")
	r.strange(m)
	r.taken(strangeName(m))
	require.False(t, r.isStrange(m))
}

// Records that are refused are told one by one, the latest ones, for an hour.
func TestRefusedRecordsAreTold(t *testing.T) {
	r, told := newTestRefusals()
	for i := range refusedKept + 2 {
		for range 2 {
			r.record(&publication{key: "q", msg: amqp.Publishing{MessageId: fmt.Sprint(i)}}, RefusedLimit, errors.New("too \xff long"))
		}
	}
	total, records, _ := r.show(time.Now())
	require.Equal(t, 2*(refusedKept+2), total)
	require.Len(t, records, refusedKept)
	require.Equal(t, wire.RefusedRecord{Message: "2", To: "q", Why: RefusedLimit, Reason: "too ? long", Count: 2, Since: records[0].Since, Last: records[0].Last}, records[0])
	n, first := told.count(RefusedLimit)
	require.Equal(t, []int{total, refusedKept + 2}, []int{n, first})
	_, records, _ = r.show(time.Now().Add(refusedFor + time.Minute))
	require.Empty(t, records)
	r.records[0].Last = time.Now().Add(-refusedFor - time.Minute)
	r.record(&publication{key: "q", msg: amqp.Publishing{MessageId: "2"}}, RefusedLimit, errOops)
	_, first = told.count(RefusedLimit)
	require.Equal(t, refusedKept+3, first, "after an hour it is news again")
}

// The losses of a connection are told only where several came within a while.
func TestLossesAreATrouble(t *testing.T) {
	var l losses
	now := time.Now()
	for range lossesKept + 1 {
		l.add(errOops)
	}
	lost, often := l.recent(now.Add(time.Second))
	require.Equal(t, []any{true, lossesKept, errOops.Error(), lossesKept + 1}, []any{often, lost.Count, lost.Reason, l.count()})
	require.False(t, lost.Since.Before(now))
	lost, often = l.recent(now.Add(lossesWindow + time.Hour))
	require.False(t, often)
	require.Zero(t, lost.Count, "long ago")

	b := &Broker{pubLink: &link{}, consLink: &link{}, pub: &publisher{refused: newRefusals(Options{}.withDefaults().link())}}
	told := func() (roles []string) {
		var p wire.ProcessStatus
		b.publishing(&p, time.Now())
		for _, l := range p.Lost {
			roles = append(roles, l.Role)
		}
		return roles
	}
	for range lossesTold - 1 {
		b.pubLink.lost.add(errOops)
	}
	require.Empty(t, told())
	b.pubLink.lost.add(errOops)
	require.Equal(t, []string{wire.RolePublishing}, told())
}

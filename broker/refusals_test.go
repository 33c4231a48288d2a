package broker

import (
	"errors"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// newTestRefusals returns refusals, and what people are told.
func newTestRefusals() (*link.Refusals, *refused) {
	told := &refused{}
	o := Options{OnRefused: told.tell}.withDefaults()
	return link.NewRefusals(o.link()), told
}

// People are told once of a queue that refuses, until it has taken something for a while,
// and it counts as full until then.
func TestFullQueuesAreTold(t *testing.T) {
	r, told := newTestRefusals()
	m := &link.Publication{Exchange: "e", Key: "order.placed", Msg: amqp.Publishing{MessageId: "m"}}
	full := func() int { _, _, full := r.Show(time.Now()); return len(full) }
	first := func() int { _, first := told.count(link.RefusedFull); return first }
	ago := func(took, last time.Duration) {
		q := r.Full["q"]
		q.Last = time.Now().Add(-last)
		if q.Took = (time.Time{}); took > 0 {
			q.Took = time.Now().Add(-took)
		}
		r.Count()
	}
	r.Held("q")
	r.Taken("q")
	require.Zero(t, full())
	r.Queue(m, "q", "c")
	r.Queue(m, "q", "c")
	r.Held("q")
	_, _, all := r.Show(time.Now())
	require.Equal(t, []wire.FullQueue{{Queue: "q", Consumer: "c", Refused: 2, Held: 1, Since: all[0].Since, Last: all[0].Last}}, all)
	require.Equal(t, []int{1, 1}, []int{first(), int(r.N.Load())})

	r.Taken("other")
	require.Equal(t, 1, full())
	r.Taken("q")
	require.Equal(t, []int{0, 0}, []int{full(), int(r.N.Load())})
	r.Queue(m, "q", "c")
	require.Equal(t, []int{1, 1}, []int{full(), first()}, "at its limit, it takes one now and then")
	ago(0, link.FullFor+time.Second)
	require.Zero(t, full(), "nothing was published for it for long")
	r.Queue(m, "q", "c")
	require.Equal(t, 2, first())
	ago(link.FullFor+time.Second, link.FullFor+2*time.Second)
	r.Taken()
	require.Empty(t, r.Full, "it is forgotten")
}

// A topic counts as one for which an unknown queue refuses for as long as that is likely.
func TestStrangeTopics(t *testing.T) {
	r, told := newTestRefusals()
	m := &link.Publication{Exchange: "e", Key: "order.placed"}
	require.False(t, r.IsStrange(m))
	r.Strange(m)
	require.True(t, r.IsStrange(m))
	require.False(t, r.IsStrange(&link.Publication{Exchange: "e", Key: "order.paid"}))
	n, first := told.count(link.RefusedUnknown)
	require.Equal(t, []int{1, 1}, []int{n, first})
	r.Full[link.StrangeName(m)].Last = time.Now().Add(-link.StrangeFor - time.Second)
	require.False(t, r.IsStrange(m), "it may have room again")
	r.Strange(m)
	r.Taken(link.StrangeName(m))
	require.False(t, r.IsStrange(m))
}

// Records that are refused are told one by one, the latest ones, for an hour.
func TestRefusedRecordsAreTold(t *testing.T) {
	r, told := newTestRefusals()
	for i := range link.RefusedKept + 2 {
		for range 2 {
			r.Record(&link.Publication{Key: "q", Msg: amqp.Publishing{MessageId: fmt.Sprint(i)}}, link.RefusedLimit, errors.New("too \xff long"))
		}
	}
	total, records, _ := r.Show(time.Now())
	require.Equal(t, 2*(link.RefusedKept+2), total)
	require.Len(t, records, link.RefusedKept)
	require.Equal(t, wire.RefusedRecord{Message: "2", To: "q", Why: link.RefusedLimit, Reason: "too ? long", Count: 2, Since: records[0].Since, Last: records[0].Last}, records[0])
	n, first := told.count(link.RefusedLimit)
	require.Equal(t, []int{total, link.RefusedKept + 2}, []int{n, first})
	_, records, _ = r.Show(time.Now().Add(link.RefusedFor + time.Minute))
	require.Empty(t, records)
	r.Records[0].Last = time.Now().Add(-link.RefusedFor - time.Minute)
	r.Record(&link.Publication{Key: "q", Msg: amqp.Publishing{MessageId: "2"}}, link.RefusedLimit, errOops)
	_, first = told.count(link.RefusedLimit)
	require.Equal(t, link.RefusedKept+3, first, "after an hour it is news again")
}

// The losses of a connection are told only where several came within a while.
func TestLossesAreATrouble(t *testing.T) {
	var l link.Losses
	now := time.Now()
	for range link.LossesKept + 1 {
		l.Add(errOops)
	}
	lost, often := l.Recent(now.Add(time.Second))
	require.Equal(t, []any{true, link.LossesKept, errOops.Error(), link.LossesKept + 1}, []any{often, lost.Count, lost.Reason, l.Count()})
	require.False(t, lost.Since.Before(now))
	lost, often = l.Recent(now.Add(link.LossesWindow + time.Hour))
	require.False(t, often)
	require.Zero(t, lost.Count, "long ago")
}

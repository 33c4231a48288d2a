package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
)

// Of what is tried again only the messages that were confirmed are left out, for as long
// as that is sure to be about the same ones.
func TestPartly(t *testing.T) {
	ms := messages("t", "order.placed", 3)
	some := []error{nil, holdfast.ErrUnroutable, nil}
	edited := messages("t", "order.placed", 3)
	edited[2].Body = []byte("other")
	for name, c := range map[string]struct {
		then  func(p *partly)
		group string
		ms    []holdfast.Message
		want  []bool
	}{
		"as they were":           {func(*partly) {}, "g", ms, []bool{true, false, true}},
		"in another order":       {func(*partly) {}, "g", []holdfast.Message{ms[1], ms[2]}, []bool{false, true}},
		"another content":        {func(*partly) {}, "g", edited, []bool{true, false, false}},
		"of another group":       {func(*partly) {}, "h", ms, nil},
		"all are confirmed":      {func(p *partly) { p.note("g", "t", ms, nil, true) }, "g", ms, nil},
		"fewer are":              {func(p *partly) { p.note("g", "t", ms, []error{nil, holdfast.ErrUnroutable, errOops}, false) }, "g", ms, []bool{true, false, false}},
		"RabbitMQ has lost them": {func(p *partly) { p.forget() }, "g", ms, nil},
		"long ago": {func(p *partly) {
			d := p.tx["g\x00t"]
			d.until = time.Now().Add(-time.Second)
			p.tx["g\x00t"] = d
		}, "g", ms, nil},
	} {
		p := newPartly()
		p.note("g", "t", ms, some, false)
		c.then(p)
		require.Equal(t, c.want, p.confirmed(c.group, "t", c.ms), name)
		require.EqualValues(t, len(p.tx), p.n.Load(), name)
	}
	p := newPartly()
	for i := range maxPartly {
		p.tx[fmt.Sprint(i)] = partlyDelivered{until: time.Now().Add(partlyFor)}
	}
	p.note("g", "last", nil, nil, false)
	require.Len(t, p.tx, maxPartly)
	require.NotNil(t, p.confirmed("g", "last", nil))
}

// The error names the messages that are not delivered, by those that were tried, and the
// next try has the others left out.
func TestUndelivered(t *testing.T) {
	b := &Broker{partly: newPartly()}
	ms := messages("t", "order.placed", 3)
	err := b.undelivered("g", "t", ms, nil, []error{nil, holdfast.ErrUnroutable, holdfast.ErrQueueFull})
	require.ErrorIs(t, err, holdfast.ErrUnroutable)
	require.ErrorIs(t, err, holdfast.ErrQueueFull)
	var of *holdfast.DeliveryError
	require.ErrorAs(t, err, &of)
	require.Equal(t, []string{ms[0].ID}, of.Delivered)
	require.Equal(t, []string{ms[1].ID, ms[2].ID}, []string{of.Failed[0].ID, of.Failed[1].ID})

	confirmed := b.partly.confirmed("g", "t", ms)
	require.Equal(t, []bool{true, false, false}, confirmed)
	require.ErrorAs(t, b.undelivered("g", "t", ms, confirmed, []error{holdfast.ErrUnroutable, nil}), &of)
	require.Equal(t, []string{ms[0].ID, ms[2].ID}, of.Delivered)
	require.Equal(t, ms[1].ID, of.Failed[0].ID)
	require.Equal(t, []bool{true, false, true}, b.partly.confirmed("g", "t", ms))

	require.Error(t, b.undelivered("g", "none", ms, nil, []error{errOops, errOops, errOops}))
	require.Nil(t, b.partly.confirmed("g", "none", ms))
}

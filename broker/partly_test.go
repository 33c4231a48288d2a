package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
)

// Of what is tried again only the messages that were confirmed are left out, for as long
// as that is sure to be about the same ones.
func TestPartly(t *testing.T) {
	ms := messages("t", "order.placed", 3)
	some := []error{nil, holdfast.ErrUnroutable, nil}
	edited := messages("t", "order.placed", 3)
	edited[2].Body = []byte("other")
	for name, c := range map[string]struct {
		then  func(p *link.Partly)
		group string
		ms    []holdfast.Message
		want  []bool
	}{
		"as they were":           {func(*link.Partly) {}, "g", ms, []bool{true, false, true}},
		"in another order":       {func(*link.Partly) {}, "g", []holdfast.Message{ms[1], ms[2]}, []bool{false, true}},
		"another content":        {func(*link.Partly) {}, "g", edited, []bool{true, false, false}},
		"of another group":       {func(*link.Partly) {}, "h", ms, nil},
		"all are confirmed":      {func(p *link.Partly) { p.Note("g", "t", ms, nil, true) }, "g", ms, nil},
		"fewer are":              {func(p *link.Partly) { p.Note("g", "t", ms, []error{nil, holdfast.ErrUnroutable, errOops}, false) }, "g", ms, []bool{true, false, false}},
		"RabbitMQ has lost them": {func(p *link.Partly) { p.Forget() }, "g", ms, nil},
		"long ago": {func(p *link.Partly) {
			d := p.Tx["g\x00t"]
			d.Until = time.Now().Add(-time.Second)
			p.Tx["g\x00t"] = d
		}, "g", ms, nil},
	} {
		p := link.NewPartly()
		p.Note("g", "t", ms, some, false)
		c.then(p)
		require.Equal(t, c.want, p.Confirmed(c.group, "t", c.ms), name)
		require.EqualValues(t, len(p.Tx), p.N.Load(), name)
	}
	p := link.NewPartly()
	for i := range link.MaxPartly {
		p.Tx[fmt.Sprint(i)] = link.PartlyDelivered{Until: time.Now().Add(link.PartlyFor)}
	}
	p.Note("g", "last", nil, nil, false)
	require.Len(t, p.Tx, link.MaxPartly)
	require.NotNil(t, p.Confirmed("g", "last", nil))
}

// The error names the messages that are not delivered, by those that were tried, and the
// next try has the others left out.
func TestUndelivered(t *testing.T) {
	b := &Broker{partly: link.NewPartly()}
	ms := messages("t", "order.placed", 3)
	err := b.undelivered("g", "t", ms, nil, []error{nil, holdfast.ErrUnroutable, holdfast.ErrQueueFull})
	require.ErrorIs(t, err, holdfast.ErrUnroutable)
	require.ErrorIs(t, err, holdfast.ErrQueueFull)
	var of *holdfast.DeliveryError
	require.ErrorAs(t, err, &of)
	require.Equal(t, []string{ms[0].ID}, of.Delivered)
	require.Equal(t, []string{ms[1].ID, ms[2].ID}, []string{of.Failed[0].ID, of.Failed[1].ID})

	confirmed := b.partly.Confirmed("g", "t", ms)
	require.Equal(t, []bool{true, false, false}, confirmed)
	require.ErrorAs(t, b.undelivered("g", "t", ms, confirmed, []error{holdfast.ErrUnroutable, nil}), &of)
	require.Equal(t, []string{ms[0].ID, ms[2].ID}, of.Delivered)
	require.Equal(t, ms[1].ID, of.Failed[0].ID)
	require.Equal(t, []bool{true, false, true}, b.partly.Confirmed("g", "t", ms))

	require.Error(t, b.undelivered("g", "none", ms, nil, []error{errOops, errOops, errOops}))
	require.Nil(t, b.partly.Confirmed("g", "none", ms))
}

package telemetry

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

// narrow is a RabbitMQ that takes so many bytes of a message without its body.
func narrow(most int) func(string, []holdfast.Message) error {
	return func(txID string, ms []holdfast.Message) error {
		for _, m := range ms {
			size := len(txID) + len(m.ID) + len(m.ContentType)
			for name, value := range m.Headers {
				size += len(name) + len(value)
			}
			if size > most {
				return fmt.Errorf("%w: %d bytes", holdfast.ErrTooLarge, size)
			}
		}
		return nil
	}
}

// A trace never makes a message too large: it is measured with the ID and the content type
// that it gets later, and before RabbitMQ is reached only a short one has a trace.
func TestRoom(t *testing.T) {
	tr, _ := newTracer(t)
	connected := make(chan struct{})
	close(connected)
	full := message("note", strings.Repeat("x", 1000))
	short := message("note", "x")
	trace := len("traceparent") + len(place)
	all := holdfast.MaxID + len("note") + 1000 + trace // but for the ID and the content type
	noID := full
	noID.ID = ""
	for name, row := range map[string]struct {
		m      holdfast.Message
		most   int
		seals  bool
		before bool
		want   bool
	}{
		"it fits":                {full, all + len(full.ID), false, false, true},
		"a byte too much":        {full, all + len(full.ID) - 1, false, false, false},
		"with its ID to come":    {noID, all + holdfast.MaxID + len(".64"), false, false, true},
		"no room for the ID":     {noID, all + holdfast.MaxID + len(".64") - 1, false, false, false},
		"sealed":                 {full, all + len(full.ID) + holdfast.MaxName, true, false, true},
		"no room once sealed":    {full, all + len(full.ID) + holdfast.MaxName - 1, true, false, false},
		"not connected":          {full, 1 << 20, false, true, false},
		"not connected, a short": {short, 0, false, true, true},
	} {
		room := Room{Connected: connected, Fits: narrow(row.most), Seals: func() bool { return row.seals }}
		if row.before {
			room.Connected = make(chan struct{})
		}
		_, out, sending := tr.Send(t.Context(), "send", "g", "", []holdfast.Message{row.m}, room.For)
		sending.End(holdfast.Receipt{}, nil)
		_, has := out[0].Headers["traceparent"]
		require.Equal(t, row.want, has, name)
		require.Equal(t, row.m.ID, out[0].ID, name)
		require.Equal(t, row.m.ContentType, out[0].ContentType, name)
	}
}

// A local transaction may make its headers as long as without a trace.
func TestRoomInALocalTransaction(t *testing.T) {
	tr, _ := newTracer(t)
	m := message("traceparent", place)
	err := tr.Local(t.Context(), []*holdfast.Message{&m}, func(ms []holdfast.Message) error {
		return narrow(200)("", ms)
	}, func(context.Context) error {
		m.Headers = map[string]string{"note": strings.Repeat("x", 180)}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"note": strings.Repeat("x", 180)}, m.Headers)
}

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// TestTemporalWithoutAddress: that nobody says where Temporal is, is well only if the
// processes say that they have none.
func TestTemporalWithoutAddress(t *testing.T) {
	sends := []broker.KeeperStatus{{Group: "orders"}}
	without, with := broker.ProcessStatus{NoTemporal: true, Keepers: sends}, broker.ProcessStatus{Keepers: sends}
	consumes := broker.ProcessStatus{NoTemporal: true}
	for name, tc := range map[string]struct {
		answers []broker.ProcessStatus
		err     error
		want    level
	}{
		"all go without":   {[]broker.ProcessStatus{consumes, without}, nil, levelOK},
		"nobody sends":     {[]broker.ProcessStatus{consumes}, nil, levelProblem},
		"one has it":       {[]broker.ProcessStatus{without, with}, nil, levelProblem},
		"nobody answers":   {nil, nil, levelProblem},
		"nobody was asked": {nil, errNotAsked, levelProblem},
		"some were asked":  {[]broker.ProcessStatus{without}, errors.New("closed"), levelProblem},
	} {
		f := findings{part: "Temporal"}
		f.noTemporal(func() ([]broker.ProcessStatus, error) { return tc.answers, tc.err })
		require.Len(t, f.all, 1, name)
		require.Equal(t, tc.want, f.all[0].Level, name)
		require.Contains(t, f.all[0].Detail, "not checked: TEMPORAL_ADDRESS is not set", name)
		require.Equal(t, tc.want == levelProblem, f.all[0].Remedy != "", name)
	}
}

// TestDoctorWithoutTemporal: an installation that has none. The other parts are checked.
func TestDoctorWithoutTemporal(t *testing.T) {
	t.Parallel()
	if conn, err := net.DialTimeout("tcp", client.DefaultHostPort, time.Second); err == nil {
		_ = conn.Close()
		t.Skip("this machine has a Temporal at the default address")
	}
	q := newQuiet(t)
	q.env = []string{"HOLDFAST_PREFIX=" + q.prefix, "AMQP_URL=" + stacktest.Shared(t).AMQPURL()}
	doctor := func() (d diagnosis, status int) {
		r := q.holdfast("doctor", "--skip", "postgresql", "--json")
		require.NoError(t, json.Unmarshal([]byte(r.out), &d), r.out)
		return d, r.status
	}
	d, status := doctor()
	require.Equal(t, exitError, status)
	require.False(t, d.OK)
	at := map[string]finding{}
	for _, f := range d.Findings {
		at[f.Part+" "+f.Check] = f
	}
	require.Equal(t, levelProblem, at["Temporal connection"].Level)
	require.Equal(t, "set TEMPORAL_ADDRESS; where no process uses Temporal: --skip temporal", at["Temporal connection"].Remedy)
	require.Equal(t, levelOK, at["RabbitMQ connection"].Level)
	require.Contains(t, at["Waiting waiting"].Detail, "what Temporal has was not looked at")
	r := q.holdfast("tx", "list")
	require.Contains(t, r.err, "Temporal at localhost:7233, since TEMPORAL_ADDRESS is not set, cannot be used")

	q.answer(broker.ProcessStatus{V: 1, Instance: "host-1", NoTemporal: true,
		Keepers: []broker.KeeperStatus{{Group: "orders", Queue: 1, Subscribed: true, Active: true}}})
	q.eventually(func() bool { // an answer may be late
		d, status = doctor()
		return status == exitOK && d.OK
	}, func() string { return fmt.Sprint(d) })
}

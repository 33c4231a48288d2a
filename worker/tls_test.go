package worker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
)

// TestOpenWithTLS: a worker takes the files that the environment names. A message goes
// through, also after a rotation that it lives through.
func TestOpenWithTLS(t *testing.T) {
	st := stacktest.PrivateTLS(t)
	s := newSiteOn(t, st.Stack)
	relay := stacktest.NewRelay(t, stacktest.HostOf(t, st.AMQPSURL()))
	for name, value := range map[string]string{"AMQP_URL": relay.Through(st.AMQPSURL()) + "?server_name_indication=localhost",
		"HOLDFAST_AMQP_CA": st.Files.CA, "HOLDFAST_AMQP_CERT": st.Files.Cert, "HOLDFAST_AMQP_KEY": st.Files.Key,
		"DATABASE_URL": s.at.OrdersURL, "HOLDFAST_PREFIX": s.at.Prefix, "TEMPORAL_ADDRESS": s.at.Temporal, "TEMPORAL_NAMESPACE": s.at.Namespace} {
		t.Setenv(name, value)
	}
	w, err := worker.Open(t.Context(), group)
	require.NoError(t, err)
	w.Consume(payments(s.effects))
	r := runWorker(t, w)
	s.oneEffect(s.sends(r, insert))

	next := stacktest.NewAuthority(t, "the next authority")
	st.WriteServer(next, next.Server(time.Now().Add(time.Hour), "localhost"))
	st.WriteClient(next, next.Client("client"))
	relay.Cut()
	s.oneEffect(s.sends(r, insert))
	r.stop()

	t.Setenv("AMQP_URL", s.at.AMQPURL)
	_, err = worker.Open(t.Context(), group)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "not encrypted: write amqps://")
}

package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// TestCommandsSpeakTLS: each way of the command to RabbitMQ takes the files that the
// environment names, and several addresses.
func TestCommandsSpeakTLS(t *testing.T) {
	s := stacktest.PrivateTLS(t)
	relay := stacktest.NewRelay(t, stacktest.HostOf(t, s.AMQPSURL()))
	env := []string{"HOLDFAST_PREFIX=" + stacktest.Prefix(t), "AMQP_URL=" + s.AMQPSURL() + "," + relay.Through(s.AMQPSURL()),
		"HOLDFAST_AMQP_CA=" + s.Files.CA, "HOLDFAST_AMQP_CERT=" + s.Files.Cert, "HOLDFAST_AMQP_KEY=" + s.Files.Key}
	for _, args := range [][]string{
		{"topology", "declare", "--group", "orders"}, {"topology", "check", "--group", "orders"},
		{"half", "stats", "orders"}, {"doctor", "--skip", "postgresql", "--skip", "temporal", "--skip", "waiting"},
	} {
		r := runProgram(t, env, args...)
		require.Equal(t, frame.ExitOK, r.status, "%v: %s%s", args, r.out, r.err)
		if args[0] == "doctor" {
			require.Regexp(t, `encrypted by TLS 1\.3; RabbitMQ's certificate is valid for \d+m`, r.out)
		}
	}
	trusting := append(env, "HOLDFAST_AMQP_CA=")
	r := runProgram(t, trusting, "half", "stats", "orders")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, "signed by unknown authority")
	require.Contains(t, r.err, "HOLDFAST_AMQP_CA")
	require.Contains(t, r.err, relay.Address())
}

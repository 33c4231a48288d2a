package reach

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Who requires encryption, and has no keyring, is told: nothing is sent in clear.
func TestEncryptionNeedsAKeyring(t *testing.T) {
	for mode, fine := range map[string]bool{"": true, "on": true, "read-only": true, "required": false, "maybe": false} {
		a := &Config{}
		require.NoError(t, a.ReadEnvironment([]string{"HOLDFAST_ENCRYPTION=" + mode}, time.Now))
		_, err := a.Box()
		require.Equal(t, fine, err == nil, mode)
		if !fine {
			var usage text.UsageError
			require.ErrorAs(t, err, &usage)
			require.ErrorContains(t, err, "HOLDFAST_ENCRYPTION")
		}
	}
}

func TestFlagsOverruleTheEnvironment(t *testing.T) {
	a := &Config{}
	require.NoError(t, a.ReadEnvironment([]string{"HOLDFAST_PREFIX=e", "HOLDFAST_TIMEOUT=3s"}, time.Now))
	require.NoError(t, a.ReadFlags())
	require.Equal(t, "e", a.Prefix)
	require.Equal(t, "3s", a.Timeout.String())
	a.PrefixFlag, a.TimeoutFlag = "f", 4e9
	require.NoError(t, a.ReadFlags())
	require.Equal(t, "f", a.Prefix)
	require.Equal(t, "4s", a.Timeout.String())

	bare := &Config{}
	require.NoError(t, bare.ReadEnvironment(nil, time.Now))
	require.Equal(t, "holdfast", bare.Prefix)
}

func TestTemporalIsConfiguredByTheEnvironment(t *testing.T) {
	a := &Config{}
	require.NoError(t, a.ReadEnvironment([]string{"TEMPORAL_ADDRESS=h:7", "TEMPORAL_NAMESPACE=a", "TEMPORAL_NAMESPACE=shop"}, time.Now))
	o, err := a.TemporalOptions()
	require.NoError(t, err)
	require.Equal(t, "h:7", o.HostPort)
	require.Equal(t, "shop", o.Namespace, "the last one counts")
}

func TestUnprepared(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://u:p@h:5/x":                                     "postgres://u:p@h:5/x?default_query_exec_mode=exec",
		"postgres://u:p@h/x?sslmode=disable":                       "postgres://u:p@h/x?default_query_exec_mode=exec&sslmode=disable",
		"postgres://u:p@h:5,i:6/x?target_session_attrs=read-write": "postgres://u:p@h:5,i:6/x?default_query_exec_mode=exec&target_session_attrs=read-write",
		"host=h,i port=5,6 dbname=x":                               "host=h,i port=5,6 dbname=x default_query_exec_mode=exec",
		"host=h dbname=x":                                          "host=h dbname=x default_query_exec_mode=exec",
		"host=h default_query_exec_mode=describe_exec":             "host=h default_query_exec_mode=describe_exec",
	} {
		require.Equal(t, want, unprepared(url))
	}
}

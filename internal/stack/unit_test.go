package stack

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRecentTemporal(t *testing.T) {
	for out, want := range map[string]bool{
		"temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)":     true,
		"temporal version 0.0.0-DEV (Server 1.30.0, UI 2.42.1)": true,
		"temporal version 1.4.1 (Server 1.28.0, UI 2.38.3)":     false,
		"temporal version 2.0.0 (Server 2.0.0, UI 3.0.0)":       true,
		"something else": false,
	} {
		require.Equal(t, want, recentTemporal(out), out)
	}
}

func TestWithDatabase(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://u:p@h:1/a?sslmode=disable":                     "postgres://u:p@h:1/b?sslmode=disable",
		"postgresql://u:p@h:1":                                     "postgresql://u:p@h:1/b",
		"postgres://h/a?dbname=c":                                  "postgres://h/b",
		"host=h dbname=a":                                          "host=h dbname=a dbname=b",
		"postgres://u:p@h:1,i:2/a?target_session_attrs=read-write": "postgres://u:p@h:1,i:2/b?target_session_attrs=read-write",
		"host=h,i port=1,2 dbname=a":                               "host=h,i port=1,2 dbname=a dbname=b",
	} {
		got, err := withDatabase(dsn, "b")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestFreePort(t *testing.T) {
	p := ports{}
	require.NoError(t, p.fill("a", "b", "c"))
	require.Len(t, p, 3)
	require.NotEqual(t, p["a"], p["b"])
	require.NotEqual(t, p["b"], p["c"])
	require.True(t, portFree(p["a"]))
}

func TestDatabaseNames(t *testing.T) {
	s := &Stack{databaseURL: "postgres://h/a"}
	for _, name := range []string{"", "A", `x"; DROP`, "1a", "a-b"} {
		_, err := s.CreateDatabase(t.Context(), name)
		require.ErrorContains(t, err, "database name")
		require.ErrorContains(t, s.DropDatabase(t.Context(), name), "database name")
	}
}

func TestTakenPortsAreRecognised(t *testing.T) {
	for log, taken := range map[string]bool{
		"Failed to start Ranch listener: eaddrinuse":                                            true,
		"{failed_to_start_child,prelaunch,{dist_port_already_used,21344,not_erlang,localhost}}": true,
		"could not bind IPv4 address \"127.0.0.1\": Address already in use":                     true,
		"permission denied": false,
	} {
		require.Equal(t, taken, inUse(log), log)
	}
}

// TestRedacted: of each address, and of several, the host is told and no password.
func TestRedacted(t *testing.T) {
	for raw, want := range map[string]string{
		"amqp://u:sesame@h/v":                       "h:5672, virtual host v",
		"amqp://u:sesame@h/v,amqp://u:sesame@i:1/v": "h:5672, i:1, virtual host v",
		"amqp://u:sesame@h/v,u:sesame@i/v":          "(given by the environment)",
		"postgres://u:sesame@h:1,i:2/x":             "h:1,i:2/x",
		"host=h password=sesame":                    "(given by the environment)",
	} {
		require.Equal(t, want, redacted(raw), raw)
	}
}

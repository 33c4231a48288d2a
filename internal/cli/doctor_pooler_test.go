package cli

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// A pooler is seen, and whether a process with the same URL can work through it; the
// command line itself always can.
func TestDoctorFindsAPooler(t *testing.T) {
	t.Parallel()
	url := stacktest.Database(t, stacktest.Shared(t))
	through := stacktest.Pgbouncer(t, url, "transaction", 3)
	for _, c := range []struct {
		url   string
		level level
		says  string
	}{
		{through, levelProblem, "prepares statements"},
		{through + "&default_query_exec_mode=exec", levelOK, "that is well"},
		{stacktest.Pgbouncer(t, url, "session", 20), levelOK, "each session"},
		{url, "", ""},
	} {
		env := []string{"DATABASE_URL=" + c.url}
		for range 3 {
			r := runProgram(t, env, "migrate")
			require.Equal(t, exitOK, r.status, r.err)
		}
		r := runProgram(t, env, "doctor", "--json", "--skip", "temporal", "--skip", "rabbitmq")
		var d diagnosis
		require.NoError(t, json.Unmarshal([]byte(r.out), &d), r.out+r.err)
		var got finding
		for _, f := range d.Findings {
			if f.Check == "pooler" {
				got = f
			}
		}
		require.Equal(t, c.level, got.Level, "%+v", d)
		require.Contains(t, got.Detail, c.says)
		if c.level == levelProblem {
			require.Contains(t, got.Remedy, "default_query_exec_mode=exec")
		}
	}
}

func TestUnprepared(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://u:p@h:5/x":                         "postgres://u:p@h:5/x?default_query_exec_mode=exec",
		"postgres://u:p@h/x?sslmode=disable":           "postgres://u:p@h/x?default_query_exec_mode=exec&sslmode=disable",
		"host=h dbname=x":                              "host=h dbname=x default_query_exec_mode=exec",
		"host=h default_query_exec_mode=describe_exec": "host=h default_query_exec_mode=describe_exec",
	} {
		require.Equal(t, want, unprepared(url))
	}
}

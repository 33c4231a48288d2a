package cli

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// found are doctor's findings of a check of one part, in a private environment.
func found(t *testing.T, env []string, skip, part, check string) (all []doctor.Finding, status int) {
	t.Helper()
	r := runProgram(t, append(env, "HOLDFAST_TIMEOUT=2m"), "doctor", "--json", "--skip", skip)
	var d doctor.Diagnosis
	require.NoError(t, json.Unmarshal([]byte(r.out), &d), r.out+r.err)
	for _, f := range d.Findings {
		if f.Part == part && f.Check == check {
			all = append(all, f)
		}
	}
	return all, r.status
}

// TestDoctorFindsSettings: what PostgreSQL's and RabbitMQ's settings break is told, from
// real servers.
func TestDoctorFindsSettings(t *testing.T) {
	t.Parallel()
	s := stacktest.Shared(t)
	address, db := migrated(t)
	const others = "rabbitmq,temporal,waiting"
	all, status := found(t, []string{"DATABASE_URL=" + address}, others, "PostgreSQL", "settings")
	require.Equal(t, frame.ExitOK, status, all)
	require.Equal(t, text.LevelOK, all[0].Level)
	u, err := url.Parse(address)
	require.NoError(t, err)
	name := strings.TrimPrefix(u.Path, "/")
	require.NoError(t, db.Exec(fmt.Sprintf(`ALTER DATABASE %q SET synchronous_commit = off`, name)).Error)
	require.NoError(t, db.Exec(fmt.Sprintf(`ALTER DATABASE %q SET statement_timeout = '1s'`, name)).Error)
	all, status = found(t, []string{"DATABASE_URL=" + address}, others, "PostgreSQL", "settings")
	require.Equal(t, frame.ExitError, status)
	require.Len(t, all, 2)
	require.Contains(t, all[0].Detail, "synchronous_commit is off")
	require.Equal(t, text.LevelProblem, all[0].Level)
	require.Contains(t, all[1].Detail, "statement_timeout is 1s")

	rabbit := []string{"AMQP_URL=" + s.AMQPURL(), "HOLDFAST_PREFIX=" + stacktest.Prefix(t)}
	all, _ = found(t, rabbit, "postgresql,temporal,waiting", "RabbitMQ", "max_message_size")
	require.Len(t, all, 1)
	require.Equal(t, text.LevelOK, all[0].Level)
}

// TestDoctorFindsMessageSize has a RabbitMQ of its own: the limit is the whole server's.
func TestDoctorFindsMessageSize(t *testing.T) {
	t.Parallel()
	s := stacktest.Private(t)
	stacktest.RabbitMQ(t, s, "rabbitmqctl", "eval", `application:set_env(rabbit, max_message_size, 1000000), persistent_term:put(max_message_size, 1000000).`)
	sh := &shop{t: t}
	var all []doctor.Finding
	sh.eventually(func() bool { // of channels that are opened from now on
		all, _ = found(t, []string{"AMQP_URL=" + s.AMQPURL()}, "postgresql,temporal,waiting", "RabbitMQ", "max_message_size")
		return len(all) == 1 && all[0].Level == text.LevelProblem
	}, func() string { time.Sleep(time.Millisecond); return fmt.Sprint(all) })
	require.Contains(t, all[0].Detail, "max_message_size is 1000000")
}

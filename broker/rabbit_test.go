package broker

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rabbitctl runs rabbitmqctl for the private RabbitMQ with the given process
// ID, in that one's environment.
func rabbitctl(t *testing.T, pid int, args ...string) {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Skip("no /proc here: cannot find the environment of RabbitMQ")
	}
	ctl := "/usr/lib/rabbitmq/bin/rabbitmqctl"
	if _, err := os.Stat(ctl); err != nil {
		t.Skip("no rabbitmqctl at", ctl)
	}
	cmd := exec.Command(ctl, args...)
	for _, kv := range bytes.Split(raw, []byte{0}) {
		name, _, _ := strings.Cut(string(kv), "=")
		if name == "HOME" || name == "PATH" || name == "ERL_EPMD_PORT" || name == "RABBITMQ_NODENAME" || name == "RABBITMQ_CONF_ENV_FILE" {
			cmd.Env = append(cmd.Env, string(kv))
		}
	}
	cmd.Dir = filepath.Dir(ctl)
	out, err := cmd.CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
}

// settleQueues makes queues that were just declared survive a SIGKILL: RabbitMQ
// 3.10 writes its list of quorum queues half a second late, and a queue that is
// not on it has no leader for ever.
func settleQueues(t *testing.T, rabbit interface{ Restart(context.Context) error }) {
	t.Helper()
	require.NoError(t, rabbit.Restart(testContext(t)))
}

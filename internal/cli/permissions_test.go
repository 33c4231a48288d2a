package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/cli/setup"
)

// What docs/security.md shows of `holdfast topology permissions` is what it prints; package
// broker's TestPermissions has RabbitMQ carry that out.
func TestPermissionsAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/security.md")
	require.NoError(t, err)
	shown, roles := 0, map[string]bool{}
	lines := strings.Split(string(doc), "\n")
	for i, line := range lines {
		command, ok := strings.CutPrefix(line, "holdfast topology permissions ")
		if !ok {
			continue
		}
		shown++
		args := append([]string{"topology", "permissions"}, shellWords(command)...)
		roles[args[2]] = true
		var want strings.Builder
		for _, next := range lines[i+1:] {
			if !strings.HasPrefix(next, "rabbitmqctl ") {
				break
			}
			want.WriteString(next + "\n")
		}
		r := runProgram(t, nil, args...)
		require.Equal(t, frame.ExitOK, r.status, r.err)
		require.Equal(t, want.String(), r.out, line)
		var d setup.Definitions
		require.NoError(t, json.Unmarshal([]byte(runProgram(t, nil, append(args, "--json", "--vhost", "/v")...).out), &d))
		require.Len(t, d.Permissions, 1)
		p := d.Permissions[0]
		require.Contains(t, want.String(), "set_permissions -p '/' "+p.User+" '"+p.Configure+"' '"+p.Write+"' '"+p.Read+"'\n")
		require.Equal(t, "/v", p.Vhost)
		for _, topic := range d.TopicPermissions {
			require.Contains(t, want.String(), topic.User+" "+topic.Exchange+" '"+topic.Write+"' '"+topic.Read+"'\n")
		}
	}
	// The virtual host is that of AMQP_URL, and never left to rabbitmqctl's default.
	ofURL := []string{"AMQP_URL=amqp://u:p@h:5672/shop%20a"}
	args := []string{"topology", "permissions", "operator"}
	require.Contains(t, runProgram(t, ofURL, args...).out, "set_permissions -p 'shop a' operator ")
	require.Contains(t, runProgram(t, ofURL, append(args, "--json")...).out, `"vhost": "shop a"`)
	require.Contains(t, runProgram(t, ofURL, append(args, "--vhost", "/")...).out, "set_permissions -p '/' operator ")
	require.Equal(t, frame.ExitUsage, runProgram(t, []string{"AMQP_URL=http://h"}, args...).status)
	require.GreaterOrEqual(t, shown, len(broker.Roles()))
	require.Len(t, roles, len(broker.Roles()))
	for _, wrong := range [][]string{{}, {"boss"}, {"producer", "--group", "g"}, {"consumer", "--consumer", "a|b"}} {
		r := runProgram(t, nil, append([]string{"topology", "permissions"}, wrong...)...)
		require.Equal(t, frame.ExitUsage, r.status, r.err)
	}
}

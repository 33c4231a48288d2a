package stack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfastmq/holdfast/internal/stack/install"
)

// ErrNoTools is the error where RabbitMQ's tools cannot be run: they are not here, or
// the node is nobody's whom we know.
var ErrNoTools = errors.New("RabbitMQ's tools cannot be used")

// RabbitMQTool runs rabbitmqctl, or rabbitmq-plugins, for the node of s and returns
// what it prints. The node may be one that this stack started, or one that holdfast dev
// did on this machine and AMQP_URL names: it is found by its port. An error says which
// arguments it had, and what it printed; it is [ErrNoTools] where nothing was run.
func (s *Stack) RabbitMQTool(ctx context.Context, tool string, args ...string) (string, error) {
	u, err := url.Parse(s.AMQPURL())
	if err != nil {
		return "", fmt.Errorf("the address of RabbitMQ: %w", err)
	}
	server, _ := findRabbit()
	path := filepath.Join(filepath.Dir(server), tool)
	if server == "" || !install.IsFile(path) {
		return "", fmt.Errorf("%w: there is no %s here", ErrNoTools, tool)
	}
	env := s.nodeEnvironment(u.Port())
	if env == nil {
		return "", fmt.Errorf("%w: RabbitMQ at %s was not started by holdfast dev on this machine: unset AMQP_URL",
			ErrNoTools, u.Host)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = os.TempDir(), env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", tool, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// nodeEnvironment is the environment of the node that serves AMQP on a port, as a stack
// starts it; nil if there is none.
func (s *Stack) nodeEnvironment(port string) []string {
	if s.RabbitMQ != nil {
		if r, ok := s.RabbitMQ.driver.(*rabbit); ok {
			return r.commands()[0].Env
		}
	}
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // another user's, or it has ended
		}
		env := strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00")
		for _, v := range env {
			if v == "RABBITMQ_NODE_PORT="+port {
				// One that begins as if its scripts had run does not run them.
				return slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "RABBITMQ_ENV_LOADED=") })
			}
		}
	}
	return nil
}

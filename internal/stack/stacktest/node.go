package stacktest

import (
	"context"
	"errors"
	"testing"

	"github.com/holdfastmq/holdfast/internal/stack"
)

// RabbitMQ is [stack.Stack.RabbitMQTool] for a test, which is skipped where the tools
// cannot be used.
func RabbitMQ(t testing.TB, s *stack.Stack, tool string, args ...string) string {
	t.Helper()
	out, err := s.RabbitMQTool(context.Background(), tool, args...) // also in a cleanup
	switch {
	case errors.Is(err, stack.ErrNoTools):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	return out
}

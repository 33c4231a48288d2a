// Package stacktest gives tests a RabbitMQ, a PostgreSQL and a Temporal.
//
//	func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }
//
//	func TestX(t *testing.T) {
//		s := stacktest.Shared(t)
//		db := stacktest.Database(t, s)   // a database of its own
//		prefix := stacktest.Prefix(t)    // for RabbitMQ's names
//		c := stacktest.TemporalClient(t, s)
//	}
//
// Tests that kill or stop a part use [Private]; so nobody else is hurt.
package stacktest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"google.golang.org/grpc"

	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/internal/stack/process"
)

const (
	// startLimit bounds a start; the first on a bare machine builds and installs.
	startLimit = 15 * time.Minute
	// callLimit bounds creating and dropping a database, and connecting.
	callLimit = time.Minute
	// restartLimit bounds the wait for a Temporal that is being started again.
	restartLimit = 5 * time.Minute
)

// shared is the one stack per test binary: tests have nothing else in common
// that could hold it.
var shared struct {
	mu    sync.Mutex
	stack *stack.Stack
	err   error
}

// Main runs the tests and then stops the shared stack, if one was started; also
// when the tests are interrupted. It returns the exit code.
func Main(m *testing.M) int {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	finished := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-finished:
		case s := <-interrupted:
			fmt.Fprintf(os.Stderr, "%s: stopping the stack\n", s)
			_ = closeShared()
			os.Exit(130)
		}
	})
	code := m.Run()
	signal.Stop(interrupted)
	close(finished)
	wg.Wait()
	if err := closeShared(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the stack:", err)
		code = max(code, 1)
	}
	return code
}

func closeShared() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.stack == nil {
		return nil
	}
	return shared.stack.Close()
}

// Shared is the stack that all tests of the binary share, started at first use;
// parts that AMQP_URL, DATABASE_URL or TEMPORAL_ADDRESS name are used instead.
// The binary's TestMain must call [Main].
func Shared(t testing.TB) *stack.Stack {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.stack == nil && shared.err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		shared.stack, shared.err = stack.Start(ctx, stack.Options{Out: os.Stderr})
	}
	if shared.err != nil {
		t.Fatalf("the shared stack did not start: %v", shared.err)
	}
	return shared.stack
}

// Private is a new stack for this test alone, whatever the environment names.
func Private(t testing.TB) *stack.Stack {
	t.Helper()
	return private(t, stack.Options{})
}

// PrivateRabbitMQ is a stack of a RabbitMQ alone, for this test alone.
func PrivateRabbitMQ(t testing.TB) *stack.Stack {
	t.Helper()
	return private(t, stack.Options{OnlyRabbitMQ: true})
}

// Database creates a database for this test alone and returns its URL. It is
// dropped at the end of the test, with whoever is still connected to it.
func Database(t testing.TB, s *stack.Stack) string {
	t.Helper()
	name := "t_" + unique()
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	url, err := s.CreateDatabase(ctx, name)
	if err != nil {
		t.Fatalf("a database for the test: %v", err)
	}
	t.Cleanup(func() {
		if s.PostgreSQL != nil && s.PostgreSQL.PID() == 0 {
			return // the test stopped its server: the database goes with it
		}
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		if err := s.DropDatabase(ctx, name); err != nil {
			t.Logf("the test's database stays behind: %v", err)
		}
	})
	return url
}

// Prefix is a short prefix for RabbitMQ's names that no other test has, such as
// "t-3f9a1c0b".
func Prefix(t testing.TB) string {
	t.Helper()
	return "t-" + unique()
}

// DeleteQueues deletes queues, at the end of a test, that it may have made. A
// RabbitMQ with some thousand quorum queues takes no connections any more.
func DeleteQueues(t testing.TB, url string, queues ...string) {
	t.Helper()
	conn, err := amqp.DialConfig(url, amqp.Config{Dial: amqp.DefaultDial(callLimit)})
	if err != nil {
		return // the test stopped its server: the queues go with it
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	for _, q := range queues {
		if err != nil {
			t.Logf("queues of the test stay behind: %v", err)
			return
		}
		_, err = ch.QueueDelete(q, false, false, false) // one that is not there is no error
	}
}

// TemporalClient is a client for the stack's Temporal server, closed at the end
// of the test. It logs errors to standard error. A server that was stuck, and is being
// started again, is waited for.
func TemporalClient(t testing.TB, s *stack.Stack) client.Client {
	t.Helper()
	o, err := s.TemporalOptions()
	if err != nil {
		t.Fatalf("a Temporal client: %v", err)
	}
	handler := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})
	o.Logger = sdklog.NewStructuredLogger(slog.New(handler).With("test", t.Name()))
	o.ConnectionOptions.DialOptions = append(o.ConnectionOptions.DialOptions, grpc.WithChainUnaryInterceptor(askAgain))
	c, err := client.NewLazyClient(o)
	if err != nil {
		t.Fatalf("a Temporal client for %s: %v", s.TemporalAddress(), err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(context.Background(), restartLimit)
	defer cancel()
	for {
		err := answers(ctx, c, s.Namespace())
		if err == nil {
			return c
		}
		if process.Pause(ctx, time.Second) != nil {
			t.Fatalf("Temporal at %s: %v", s.TemporalAddress(), err)
		}
	}
}

// answers asks Temporal for its namespace.
func answers(ctx context.Context, c client.Client, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	_, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
	return err
}

// unique is eight characters that are different each time.
func unique() string { return strings.ReplaceAll(uuid.NewString(), "-", "")[:8] }

// logWriter writes progress lines to a test's log.
type logWriter struct{ t testing.TB }

// Write implements io.Writer.
func (w logWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

package broker

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/internal/stepend"
)

// childEnv makes this test binary a consumer instead; see TestMessageThatKills.
const childEnv = "HOLDFAST_TEST_CONSUMER"

type childConfig struct {
	URL, Prefix string
	Replies     bool // to the call that was given up
}

// childConsumer runs until a message kills it or its parent does.
func childConsumer() int {
	var c childConfig
	if json.Unmarshal([]byte(os.Getenv(childEnv)), &c) != nil {
		return 2
	}
	go func() { // it must not outlive its parent
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(5)
	}()
	ctx := context.Background()
	b, err := Open(ctx, Options{URL: c.URL, Prefix: c.Prefix})
	if err != nil {
		return 3
	}
	company := make(chan struct{}, 100)
	var giveUp func(context.Context, Delivery, holdfast.Failure) (bool, error)
	if c.Replies {
		giveUp = func(ctx context.Context, d Delivery, f holdfast.Failure) (bool, error) {
			return true, b.PublishSagaReply(ctx, *d.Saga, wire.SagaReply{Outcome: stepend.Failed, Class: f.Class, Reason: f.Reason})
		}
	}
	b.patience.LookEvery = 50 * time.Millisecond
	err = b.Consume(ctx, Subscription{GiveUp: giveUp, Name: "c", Topics: []string{"order.*"}, Tries: 2, Ladder: rungs(2), Concurrency: 4,
		Handle: func(ctx context.Context, d Delivery) error {
			if strings.HasPrefix(d.Message.ID, "killer") || d.Message.Key == "killer" {
				fault.Kill()
			}
			select { // as if it were work, so that a death comes in its midst
			case company <- struct{}{}:
				time.Sleep(10 * time.Millisecond)
			case <-ctx.Done():
				return ctx.Err()
			}
			p := link.Publication{Key: c.Prefix + ".results", Mandatory: true, Msg: amqp.Publishing{MessageId: d.Message.ID}}
			return b.c.Pub.One(ctx, &p, "")
		}})
	if err != nil {
		return 4
	}
	return 0
}

// startChild starts a consumer that dies with its parent at the latest.
func startChild(t *testing.T, c childConfig) (child *exec.Cmd, exited <-chan error) {
	t.Helper()
	config, err := json.Marshal(c)
	require.NoError(t, err)
	child = exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+string(config))
	child.Stderr = os.Stderr
	_, err = child.StdinPipe() // closed when this process ends, however it does
	require.NoError(t, err)
	require.NoError(t, child.Start())
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	return child, ended
}

// A message that kills every process that tries it is a dead letter after as many
// deaths as it is allowed attempts; those that were with it in the process, or
// were merely fetched ahead, are not, however often that was.
func TestMessageThatKills(t *testing.T) {
	b, _ := consuming(t)
	url := stacktest.Shared(t).AMQPURL()
	rawChannel(t, b, func(ch *amqp.Channel) {
		_, err := ch.QueueDeclare(b.o.Prefix+".results", true, false, false, false, quorumArgs())
		require.NoError(t, err)
	})
	const innocents = 40
	publishTx(t, b, "killer-1")
	for range innocents / 2 {
		publishTx(t, b, newTx())
	}
	publishTx(t, b, "killer-2")
	for range innocents / 2 {
		publishTx(t, b, newTx())
	}
	config := childConfig{URL: url, Prefix: b.o.Prefix}
	seen, handled := map[string]bool{}, map[string]bool{}
	rawChannel(t, b, func(ch *amqp.Channel) {
		died, err := ch.Consume(b.DeadQueue(), "", true, false, false, false, nil)
		require.NoError(t, err)
		results, err := ch.Consume(b.o.Prefix+".results", "", true, false, false, false, nil)
		require.NoError(t, err)
		for deaths := 0; len(seen) < 2 || len(handled) < innocents; deaths++ {
			require.Less(t, deaths, 60, "far more deaths than two messages are allowed attempts")
			child, exited := startChild(t, config)
			for alive := true; alive; {
				select {
				case err := <-exited:
					var e *exec.ExitError
					require.ErrorAs(t, err, &e)
					require.Equal(t, syscall.SIGKILL, e.Sys().(syscall.WaitStatus).Signal(), "it died of something else")
					alive = false
				case d := <-results:
					handled[d.MessageId] = true
				case d := <-died:
					require.GreaterOrEqual(t, deaths, 4, "as many deaths as attempts")
					require.EqualValues(t, holdfast.ClassLost, d.Headers[wire.HeaderErrorClass])
					require.Equal(t, "4", d.Headers[wire.HeaderAttempts])
					require.Equal(t, "4", d.Headers[wire.HeaderLost])
					require.Contains(t, d.Headers[wire.HeaderReason], "killed")
					for _, a := range wire.ReadLog(d.Headers) {
						require.Equal(t, holdfast.ClassLost, a.Class)
					}
					seen[d.MessageId] = true
				case <-time.After(patience):
					_ = child.Process.Kill()
					require.FailNow(t, "nothing happens", "dead: %v, handled: %d", seen, len(handled))
				}
				if alive && len(seen) >= 2 && len(handled) >= innocents {
					require.NoError(t, child.Process.Kill())
					<-exited
					alive = false
				}
			}
		}
	})
	require.Equal(t, map[string]bool{"killer-1": true, "killer-2": true}, seen)
	require.Len(t, handled, innocents)
}

// Once an attempt returns, what was lost before is forgotten.
func TestReturnedAttemptForgetsLosses(t *testing.T) {
	t.Parallel()
	b, _ := consuming(t)
	got := make(chan Delivery, 10)
	b.testConsumer(t, func(o *Subscription) { o.Tries, o.Ladder = 1, rungs(2) }, func(_ context.Context, d Delivery) error {
		got <- d
		return errOops
	})
	publishRaw(t, b, b.QueuesExchange(), b.ConsumerQueue("c"), amqp.Publishing{MessageId: "a", Headers: amqp.Table{wire.HeaderLost: "2"}})
	require.True(t, next(t, got).Redelivered)
	require.False(t, next(t, got).Redelivered)
	require.False(t, next(t, got).Redelivered)
	d := take(t, b, b.DeadQueue())
	require.Equal(t, "3", d.Headers[wire.HeaderAttempts], "the losses do not count")
	require.NotContains(t, d.Headers, wire.HeaderLost)
	require.EqualValues(t, holdfast.ClassError, d.Headers[wire.HeaderErrorClass])
}

// A loss is written down before the message is tried again.
func TestLossIsWrittenDown(t *testing.T) {
	b, _ := consuming(t)
	var events watched
	rawChannel(t, b, func(ch *amqp.Channel) {
		publishTx(t, b, "a")
		ds, err := ch.Consume(b.ConsumerQueue("c"), "", false, false, false, false, nil)
		require.NoError(t, err)
		next(t, ds) // and the channel is closed with it
	})
	got := make(chan Delivery, 10)
	b.testConsumer(t, func(o *Subscription) { o.Observe = events.add }, func(_ context.Context, d Delivery) error { got <- d; return errOops })
	d := next(t, got)
	require.True(t, d.Redelivered)
	require.Equal(t, 1, d.Attempt)
	lost := events.of(EventLost)
	require.Len(t, lost, 1)
	require.Equal(t, holdfast.ClassLost, lost[0].Class)
	dead := take(t, b, b.DeadQueue())
	require.Equal(t, holdfast.ClassLost, wire.ReadLog(dead.Headers)[0].Class, "the log keeps it")
	require.Equal(t, "3", dead.Headers[wire.HeaderAttempts])
}

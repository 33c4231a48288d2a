package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// restricted makes a user who may write and read everything, and configure nothing.
func restricted(t *testing.T, name string) (amqpURL string) {
	s := stacktest.Shared(t)
	u, err := url.Parse(s.AMQPURL())
	require.NoError(t, err)
	vhost, err := url.PathUnescape(strings.TrimPrefix(u.EscapedPath(), "/"))
	require.NoError(t, err)
	if vhost == "" {
		vhost = "/"
	}
	stacktest.RabbitMQ(t, s, "rabbitmqctl", "eval", fmt.Sprintf(`rabbit_auth_backend_internal:add_user(<<"%[1]s">>, <<"pw">>, <<"test">>),
rabbit_auth_backend_internal:set_permissions(<<"%[1]s">>, <<"%[2]s">>, <<"^$">>, <<".*">>, <<".*">>, <<"test">>).`, name, vhost))
	u.User = url.UserPassword(name, "pw")
	return u.String()
}

// asking is a saga that asks a participant.
var asking = saga.Saga[string]{Name: "s", Key: func(x string) string { return x },
	Steps: []saga.Step[string]{saga.Message("m", "do", "").NoUndo()}}

// TestDeclareNothing: a process whose user may configure nothing names what is missing
// in one sentence, with the command that makes it; then it runs, sends, and consumes.
func TestDeclareNothing(t *testing.T) {
	t.Parallel()
	s := stacktest.Shared(t)
	prefix, database := stacktest.Prefix(t), stacktest.Database(t, s)
	db, err := gorm.Open(postgres.Open(database), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	require.NoError(t, barrier.Migrate(t.Context(), db))
	client := stacktest.TemporalClient(t, s)
	as := restricted(t, prefix+"-app")
	got, heard := make(chan string, 10), make(chan holdfast.Alert, 10)
	newWorker := func(declare *bool) *worker.Worker {
		w, err := worker.New(worker.Options{Group: "g", Temporal: client, Namespace: s.Namespace(), AMQPURL: as, DB: db, Prefix: prefix, Declare: declare, Tuning: worker.Tuning{HalfQueues: 2},
			OnAlert: func(_ context.Context, a holdfast.Alert) { heard <- a }})
		require.NoError(t, err)
		w.Consume(worker.Consumer{Name: "its", Topics: []string{"a.*", "b"}, Ladder: []time.Duration{7 * time.Second},
			HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error { got <- m.Topic; return nil }})
		w.Participate(worker.Participant{Topic: "do", Do: func(context.Context, *gorm.DB, holdfast.Message) (any, error) { return nil, nil }})
		w.Saga(asking)
		return w
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = newWorker(nil).Run(ctx)
	require.ErrorContains(t, err, "Options.Declare")
	require.NotContains(t, err.Error(), "\n", "one sentence")
	err = newWorker(new(false)).Run(ctx)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "exchange "+prefix+".topics, ")
	require.NotContains(t, err.Error(), "\n")
	var missing *broker.MissingError
	require.ErrorAs(t, err, &missing)
	require.Greater(t, len(missing.What), 20)

	express, e := worker.New(worker.Options{Group: "g", Lane: holdfast.Express, AMQPURL: as, DB: db, Prefix: prefix, Declare: new(false)})
	require.NoError(t, e)
	require.ErrorContains(t, express.Run(ctx), prefix+".half.g", "it needs no Temporal for that")

	_, command, ok := strings.Cut(err.Error(), ", as: holdfast ")
	require.True(t, ok, err)
	args := shellWords(command)
	run := func(user string, args ...string) result {
		return runProgram(t, []string{"AMQP_URL=" + user}, args...)
	}
	check := append([]string{"topology", "check"}, args[2:]...)
	r := run(as, check...)
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.out, "missing     queue "+prefix+".q.its; run `holdfast topology declare`")
	list := run(as, append([]string{"topology", "list"}, args[2:]...)...)
	require.Equal(t, frame.ExitOK, list.status, list.err)
	require.Contains(t, list.out, "binding of "+prefix+".q.its to "+prefix+".topics for a.*\n")
	require.Contains(t, list.out, "queue "+prefix+".retry.7s\n")
	require.Contains(t, list.out, "queue "+prefix+".retry.full.its\n")
	require.Contains(t, list.out, "queue "+prefix+".alerts\n")
	require.Contains(t, list.out, "binding of "+prefix+".hook.g to "+prefix+".alerts for consumer.its\n")
	made := run(s.AMQPURL(), args...)
	require.Equal(t, frame.ExitOK, made.status)
	require.Contains(t, made.out, "made queue "+prefix+".q.its\n")
	require.Equal(t, "all is there\n", run(s.AMQPURL(), args...).out, "it may be run again")
	t.Cleanup(func() {
		var queues []string
		for line := range strings.Lines(list.out) {
			if q, ok := strings.CutPrefix(strings.TrimSpace(line), "queue "); ok {
				queues = append(queues, q)
			}
		}
		stacktest.DeleteQueues(t, s.AMQPURL(), queues...)
	})
	require.Equal(t, frame.ExitOK, run(as, check...).status)
	more := run(as, append(check, "--hook", "@another=consumer.another")...)
	require.Equal(t, frame.ExitError, more.status)
	require.Contains(t, more.out, "missing     queue "+prefix+".hook.@another")
	require.Contains(t, more.out, "whose arguments this user may not ask for: ")

	w := newWorker(new(false))
	sh := &shop{t: t, w: w}
	sh.run()
	_, err = w.Send(ctx, holdfast.Message{Topic: "a.x"}, func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
	require.NoError(t, err)
	select {
	case topic := <-got:
		require.Equal(t, "a.x", topic)
	case <-ctx.Done():
		t.Fatal("nothing came")
	}
	admin, err := broker.Open(ctx, broker.Options{URL: s.AMQPURL(), Prefix: prefix})
	require.NoError(t, err)
	defer func() { _ = admin.Close(ctx) }()
	_, err = admin.PublishAlert(ctx, holdfast.Alert{Kind: holdfast.AlertParked, Group: "g", ID: "x"}, broker.AlertsOfGroup("g"))
	require.NoError(t, err)
	select {
	case a := <-heard:
		require.Equal(t, "x", a.ID, "alerts of other processes come through the queue that was made for them")
	case <-ctx.Done():
		t.Fatal("no alert came")
	}
	h, err := worker.StartSaga(ctx, w, asking, "k")
	require.NoError(t, err)
	_, err = h.Wait(ctx)
	require.NoError(t, err, "replies come without a queue of this process's own")
}

// shellWords splits a command as a shell does, as far as single quotes go.
func shellWords(s string) (out []string) {
	var word strings.Builder
	quoted, began := false, false
	flush := func() {
		if began {
			out = append(out, word.String())
		}
		word.Reset()
		began = false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'':
			quoted, began = !quoted, true
		case c == '\\' && !quoted && i+1 < len(s):
			i++
			word.WriteByte(s[i])
			began = true
		case c == ' ' && !quoted:
			flush()
		default:
			word.WriteByte(c)
			began = true
		}
	}
	flush()
	return out
}

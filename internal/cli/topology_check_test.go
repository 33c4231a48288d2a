package cli

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/topology"
	"github.com/holdfastmq/holdfast/internal/stack"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// management enables the management API of the shared RabbitMQ, and returns its address.
func management(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	_, port, _ := net.SplitHostPort(address)
	shared := stacktest.Shared(t)
	stacktest.RabbitMQ(t, shared, "rabbitmqctl", "eval", `application:load(rabbitmq_management),
application:set_env(rabbitmq_management, tcp_config, [{port, `+port+`}, {ip, "127.0.0.1"}]).`)
	t.Cleanup(func() { stacktest.RabbitMQ(t, shared, "rabbitmq-plugins", "disable", "rabbitmq_management") })
	stacktest.RabbitMQ(t, shared, "rabbitmq-plugins", "enable", "rabbitmq_management")
	return "http://" + address
}

// TestTopologyCheck: what is missing, other than it should be, or bound beyond it, in a
// real RabbitMQ; declare makes what can be made, and deletes nothing.
func TestTopologyCheck(t *testing.T) { // not parallel: another test has the management API, too
	s, prefix := stacktest.Shared(t), stacktest.Prefix(t)
	api := management(t)
	env := []string{"AMQP_URL=" + s.AMQPURL(), "HOLDFAST_TIMEOUT=2m"}
	file := filepath.Join(t.TempDir(), "holdfast.json")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	write(`{"prefix":"` + prefix + `","groups":["g"],"consumers":{"c":["a","b"]}}`)
	declaredAs(t, s, "--from", file)
	check := func(more ...string) (r topology.Report, status int) {
		t.Helper()
		got := runProgram(t, env, append([]string{"topology", "check", "--from", file, "--json", "--rabbitmq-management", api}, more...)...)
		require.NoError(t, json.Unmarshal([]byte(got.out), &r), got.err)
		return r, got.status
	}
	r, status := check()
	require.Equal(t, frame.ExitOK, status, r)
	require.True(t, r.OK)
	require.Empty(t, r.Differences)
	require.Empty(t, r.Bindings, "they were compared")
	require.True(t, r.Complete)
	require.Equal(t, r.Objects, r.Arguments+r.BindingsCompared)
	plainly(t, s, env, api)
	require.Greater(t, r.Objects, 50)

	conn, err := amqp.Dial(s.AMQPURL())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	require.NoError(t, err)
	n := broker.BoundConsumer("c", nil).Name
	queue, topics := prefix+".q."+n, prefix+".topics"
	require.NoError(t, ch.QueueBind(queue, "old", topics, false, nil))
	require.NoError(t, ch.QueueUnbind(queue, "b", topics, nil))
	spy, err := ch.QueueDeclare("", false, true, true, false, nil)
	require.NoError(t, err)
	require.NoError(t, ch.QueueBind(spy.Name, "#", topics, false, nil))
	_, err = ch.QueueDelete(prefix+".retry.10s", false, false, false)
	require.NoError(t, err)
	_, err = ch.QueueDelete(prefix+".alone.c", false, false, false)
	require.NoError(t, err)
	_, err = ch.QueueDeclare(prefix+".alone.c", true, false, false, false, amqp.Table{"x-queue-type": "quorum", "x-max-length": int64(5)})
	require.NoError(t, err)
	states := func(r topology.Report) (out []string) {
		for _, d := range r.Differences {
			name := d.Object.String()
			if d.Name == spy.Name {
				name = "spy"
			}
			out = append(out, d.State+" "+name)
		}
		slices.Sort(out)
		return out
	}
	r, status = check()
	require.Equal(t, frame.ExitError, status)
	require.False(t, r.OK)
	require.Equal(t, []string{"different queue " + prefix + ".alone.c", "foreign spy",
		"missing binding of " + prefix + ".alone.c to " + prefix + ".queues for " + prefix + ".alone.c",
		"missing binding of " + prefix + ".alone.c to " + prefix + ".retry for " + prefix + ".alone.c",
		"missing binding of " + queue + " to " + topics + " for b", "missing queue " + prefix + ".retry.10s",
		"unexpected binding of " + queue + " to " + topics + " for old"}, states(r))
	different := r.Differences[slices.IndexFunc(r.Differences, func(d topology.Difference) bool { return d.State == "different" })]
	require.Contains(t, different.Detail, "x-")
	require.Contains(t, different.Remedy, "delete it")

	// A dry run makes nothing; declare makes the rest, and says what stands in its way.
	dry := runProgram(t, env, "topology", "declare", "--from", file, "--dry-run", "--rabbitmq-management", api)
	require.Equal(t, frame.ExitError, dry.status)
	require.Contains(t, dry.out, "would make queue "+prefix+".retry.10s\n")
	require.Contains(t, dry.out, "would make binding of "+queue+" to "+topics+" for b\n")
	require.Contains(t, dry.out, "different   queue "+prefix+".alone.c")
	again, _ := check()
	require.Equal(t, states(r), states(again))
	wrong := runProgram(t, env, "topology", "declare", "--from", file)
	require.Equal(t, frame.ExitError, wrong.status)
	require.Contains(t, wrong.err, prefix+".alone.c exists with other arguments")
	_, err = ch.QueueDelete(prefix+".alone.c", false, false, false)
	require.NoError(t, err)
	made := runProgram(t, env, "topology", "declare", "--from", file)
	require.Equal(t, frame.ExitOK, made.status, made.err)
	require.Contains(t, made.out, "made queue "+prefix+".alone.c\n")
	r, status = check()
	require.Equal(t, frame.ExitError, status)
	require.Equal(t, []string{"foreign spy", "unexpected binding of " + queue + " to " + topics + " for old"}, states(r), "nothing is deleted")
	require.NoError(t, ch.QueueUnbind(queue, "old", topics, nil))
	r, status = check()
	require.Equal(t, frame.ExitOK, status, "what others read of the topics is told, and harmless")
	require.Equal(t, []string{"foreign spy"}, states(r))

	// The one kind of binding that declare removes is named before.
	noticed := []string{"--from", file, "--consumer", "c=compensated:a"}
	listed := runProgram(t, env, append([]string{"topology", "list"}, noticed...)...)
	require.Contains(t, listed.out, "removal of the binding of "+queue+" to "+topics+" for a.compensated\n")
	dryRun := append([]string{"topology", "declare", "--dry-run"}, noticed...)
	require.Contains(t, runProgram(t, env, dryRun...).out, "would remove binding of "+queue+" to "+topics+" for a.compensated, if it is there\n")
	dryRun = append(dryRun, "--rabbitmq-management", api)
	require.NotContains(t, runProgram(t, env, dryRun...).out, "would remove")
	require.NoError(t, ch.QueueBind(queue, "a.compensated", topics, false, nil))
	require.Contains(t, runProgram(t, env, dryRun...).out, "would remove binding of "+queue+" to "+topics+" for a.compensated\n")
	require.Equal(t, frame.ExitOK, runProgram(t, env, append([]string{"topology", "declare"}, noticed...)...).status)
	require.NotContains(t, runProgram(t, env, dryRun...).out, "would remove")

	// Without the management API that is said.
	plain := runProgram(t, env, "topology", "check", "--from", file)
	require.Equal(t, frame.ExitOK, plain.status)
	require.Contains(t, plain.out, "bindings are not compared: ")
	require.NotContains(t, plain.out, "all is there")
	require.Contains(t, plain.out, " 0 of ")
	require.NoError(t, json.Unmarshal([]byte(runProgram(t, env, "topology", "check", "--from", file, "--json").out), &r))
	require.True(t, r.OK)
	require.False(t, r.Complete)
	require.Zero(t, r.BindingsCompared)
	require.Equal(t, r.Looked, r.Arguments)

	// The same, of what runs.
	b, err := broker.Open(t.Context(), broker.Options{URL: s.AMQPURL(), Prefix: prefix, NoDeclare: true})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Consume(ctx, broker.Subscription{Name: "c", Topics: []string{"a", "b"}, Tries: 1, Ladder: broker.DefaultLadder()[:0],
			Handle: func(context.Context, broker.Delivery) error { return nil }})
	}()
	sh := &shop{t: t, env: append(env, "HOLDFAST_PREFIX="+prefix)}
	var found topology.File
	sh.answered(func(r result) bool {
		return json.Unmarshal([]byte(r.out), &found) == nil && found.Consumers["c"] != nil
	}, "topology", "file", "--running", "--group", "g")
	require.Equal(t, topology.File{Prefix: prefix, Groups: []string{"g"}, Consumers: map[string][]string{"c": {"a", "b"}}}, found)
	stop()
	require.NoError(t, <-ended)
	require.NoError(t, b.Close(context.WithoutCancel(t.Context())))
}

// plainly checks what processes have made that declare for themselves: a group, then a
// consumer beside it. What they make later is told, and does not count.
func plainly(t *testing.T, s *stack.Stack, env []string, api string) {
	t.Helper()
	prefix := stacktest.Prefix(t)
	b, err := broker.Open(t.Context(), broker.Options{URL: s.AMQPURL(), Prefix: prefix})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close(context.WithoutCancel(t.Context()))) }()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Keep(ctx, broker.KeeperOptions{Group: "g", HandOver: func(_ context.Context, all []holdfast.Half) []error { return make([]error, len(all)) }})
	}()
	defer func() { stop(); require.NoError(t, <-ended) }()
	t.Cleanup(func() {
		var queues []string
		for _, name := range []string{"half.g", "dead", "dead.oversized", "dead.expired", "q.c", "alone.c", "retry.10s", "retry.30s", "retry.1m", "retry.5m", "retry.15m", "retry.1h"} {
			queues = append(queues, prefix+"."+name)
		}
		stacktest.DeleteQueues(t, s.AMQPURL(), queues...)
	})
	args := []string{"topology", "check", "--prefix", prefix, "--rabbitmq-management", api, "--json", "--group", "g"}
	green := func(later ...string) {
		t.Helper()
		var r topology.Report
		got := runProgram(t, env, args...)
		require.Equal(t, frame.ExitOK, got.status, got.out+got.err)
		require.NoError(t, json.Unmarshal([]byte(got.out), &r))
		var missing []string
		for _, d := range r.Differences {
			require.True(t, d.Harmless && d.Later, d)
			if d.Kind == broker.KindQueue {
				missing = append(missing, d.Name)
			}
		}
		require.Equal(t, later, missing)
	}
	var got result
	eventually(t, func() bool { // the Keeper makes its queues meanwhile
		got = runProgram(t, env, args...)
		return got.status == frame.ExitOK
	}, func() string { return got.out + got.err })
	green(prefix+".alerts", prefix+".pauses")
	require.NoError(t, b.DeclareConsumer(t.Context(), "c", []string{"a"}))
	args = append(args, "--consumer", "c=a")
	green(prefix+".retry.full.c", prefix+".alerts", prefix+".pauses")
	args = append(args, "--hook", "g=group.g")
	require.Equal(t, frame.ExitError, runProgram(t, env, args...).status, "what was asked for by name counts")
}

// TestTopologyUsage: what is wrong with the arguments is said before anything is done.
func TestTopologyUsage(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"prefix":"p","groups":["g"]}`), 0o600))
	typo := filepath.Join(t.TempDir(), "typo.json")
	require.NoError(t, os.WriteFile(typo, []byte(`{"group":["g"]}`), 0o600))
	for _, c := range []struct {
		says string
		args []string
	}{
		{"--from, --group", []string{"list"}},
		{`unknown field "group"`, []string{"list", "--from", typo}},
		{"has the prefix p", []string{"list", "--from", file, "--prefix", "q"}},
		{"want NAME=ITEM", []string{"list", "--consumer", "c"}},
		{"say what to do", nil},
	} {
		r := runProgram(t, nil, append([]string{"topology"}, c.args...)...)
		require.Equal(t, frame.ExitUsage, r.status, c)
		require.Contains(t, r.err, c.says)
	}
	other := runProgram(t, []string{"HOLDFAST_PREFIX=q"}, "topology", "list", "--from", file)
	require.Equal(t, frame.ExitUsage, other.status, "of another installation than the environment's")
	require.Contains(t, other.err, "HOLDFAST_PREFIX is q, and "+file+" has the prefix p")
	require.Equal(t, frame.ExitOK, runProgram(t, []string{"HOLDFAST_PREFIX=p"}, "topology", "list", "--from", file).status)
	r := runProgram(t, nil, "topology", "list", "--from", file, "--json", "--participant", "s=s.do,s.undo")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	var all []broker.Object
	require.NoError(t, json.Unmarshal([]byte(r.out), &all))
	require.True(t, slices.ContainsFunc(all, func(o broker.Object) bool { return o.Kind == broker.KindQueue && o.Name == "p.half.g" }))
	require.True(t, slices.ContainsFunc(all, func(o broker.Object) bool { return o.Name == "p.retry.5s" }), "of a participant's ladder")
	require.Contains(t, runProgram(t, nil, "topology", "check", "--group", "g").err, "AMQP_URL")
}

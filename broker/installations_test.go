package broker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// Two installations whose prefixes and names meet: RabbitMQ keeps their queues apart, and
// the error says whose the queue is; their task queues are found.
func TestNamesThatCoincide(t *testing.T) {
	url, prefix := stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t)
	ctx := testContext(t)
	outer, inner := open(t, url, prefix, nil), open(t, url, prefix+".q", nil)
	require.NoError(t, inner.DeclareGroup(ctx, "b.c"))
	for name, declare := range map[string]func() error{
		"a consumer's queue and the dead letters": func() error { return outer.DeclareConsumer(ctx, "dead", []string{"x"}) },
		"a consumer's queue and a half queue":     func() error { return outer.DeclareConsumer(ctx, "half.b.c", []string{"x"}) },
		"a consumer's queue and a delay queue":    func() error { return outer.DeclareConsumer(ctx, "retry.10s", []string{"x"}) },
	} {
		err := declare()
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
		require.ErrorContains(t, err, "installation with the prefix "+prefix+".q", name)
		require.ErrorContains(t, err, "leave it", name)
	}
	t.Cleanup(func() {
		stacktest.DeleteQueues(t, url, outer.AloneQueue("dead"), outer.AloneQueue("half.b.c"), outer.AloneQueue("retry.10s"))
	})

	same, err := inner.SameTaskQueue(ctx, "b.c")
	require.NoError(t, err)
	require.Empty(t, same)
	require.NoError(t, outer.DeclareGroup(ctx, "q.b.c"))
	same, err = inner.SameTaskQueue(ctx, "b.c")
	require.NoError(t, err)
	require.Equal(t, []Installation{{Prefix: prefix, Group: "q.b.c"}}, same)
	same, err = outer.SameTaskQueue(ctx, "q.b.c")
	require.NoError(t, err)
	require.Equal(t, []Installation{{Prefix: prefix + ".q", Group: "b.c"}}, same)
	require.NoError(t, outer.PublishHalf(ctx, half("one", "q.b.c")))
	require.NoError(t, inner.PublishHalf(ctx, half("two", "b.c")))
	require.Equal(t, 1, ready(t, outer, outer.HalfQueue("q.b.c")))
	require.Equal(t, 1, ready(t, inner, inner.HalfQueue("b.c")))
}

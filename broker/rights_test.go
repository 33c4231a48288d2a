package broker

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// userWith makes a user with these rights, PREFIX in them standing for the prefix, and returns its URL.
func userWith(t *testing.T, prefix, configure, write, read string) string {
	t.Helper()
	u, err := url.Parse(stacktest.Shared(t).AMQPURL())
	require.NoError(t, err)
	user := prefix + "-" + uuid.NewString()
	u.User = url.UserPassword(user, "pw")
	evalRabbitMQ(t, fmt.Sprintf(`rabbit_auth_backend_internal:add_user(<<"%s">>, <<"pw">>, <<"test">>).`, user))
	setRights(t, u.String(), prefix, configure, write, read)
	return u.String()
}

// setRights gives the user of a URL these rights in the place of those that it has.
func setRights(t *testing.T, uri, prefix, configure, write, read string) {
	t.Helper()
	u, err := url.Parse(uri)
	require.NoError(t, err)
	vhost, err := url.PathUnescape(strings.TrimPrefix(u.EscapedPath(), "/"))
	require.NoError(t, err)
	quote := func(p string) string {
		return strings.ReplaceAll(strings.ReplaceAll(p, "PREFIX", regexp.QuoteMeta(prefix)), `\`, `\\`)
	}
	evalRabbitMQ(t, fmt.Sprintf(`rabbit_auth_backend_internal:set_permissions(<<"%s">>, <<"%s">>, <<"%s">>, <<"%s">>, <<"%s">>, <<"test">>).`,
		u.User.Username(), cmp.Or(vhost, "/"), quote(configure), quote(write), quote(read)))
}

func evalRabbitMQ(t *testing.T, erlang string) {
	t.Helper()
	stacktest.RabbitMQ(t, stacktest.Shared(t), "rabbitmqctl", "eval", erlang)
}

// Of what a user may not do the error names the verb, the thing, and what to do.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	s, prefix := stacktest.Shared(t), stacktest.Prefix(t)
	admin := open(t, s.AMQPURL(), prefix, nil)
	ctx := testContext(t)
	require.NoError(t, admin.DeclareGroup(ctx, "g"))
	require.NoError(t, admin.DeclareConsumer(ctx, "c", []string{"x"}))
	as := func(configure, write, read string) *Broker {
		return open(t, userWith(t, prefix, configure, write, read), prefix, nil)
	}
	says := func(err error, right string) {
		t.Helper()
		require.ErrorContains(t, err, right)
		require.ErrorContains(t, err, "`holdfast topology permissions`")
		require.NotContains(t, err.Error(), "\n", "one sentence")
	}

	_, err := as("", ".*", `^(?!PREFIX\.q\.c$)`).c.Subs.Subscribe(ctx, admin.ConsumerQueue("c"), 1)
	says(err, "read permission for queue "+prefix+".q.c")
	half := holdfast.Half{TxID: "t", Group: "g", Messages: messages("t", "x", 1)}
	b := as("", `^(?!PREFIX\.half$)`, ".*")
	says(b.PublishHalf(ctx, half), "write permission for exchange "+prefix+".half,")
	require.NoError(t, b.PublishMessages(ctx, "g", "t", messages("t", "x", 1)))
	says(as("", ".*", ".*").DeclareConsumer(ctx, "d", []string{"x"}), "configure permission for queue "+prefix+".q.d")
	says(as(".*", `^PREFIX\.`, ".*").DeclareConsumer(ctx, "d", []string{"x"}), "write permission for exchange amq.default")
	says(as(".*", `^(amq\.default|PREFIX\.(dead|retry).*)$`, ".*").DeclareConsumer(ctx, "d", []string{"x"}), "write permission for queue "+prefix+".q.d")
	says(as(".*", ".*", `^(?!PREFIX\.topics)`).DeclareConsumer(ctx, "e", []string{"x"}), "read permission for exchange "+prefix+".topics")
}

// Rights that are taken away while a process runs: what it may not do any more it says at once, and
// loses nothing; it goes on by itself when it has them again.
func TestRightsAreTakenAway(t *testing.T) {
	maker, ctx := consuming(t)
	require.NoError(t, maker.DeclareGroup(ctx, "g"))
	uri := userWith(t, maker.o.Prefix, ".*", ".*", ".*")
	b := open(t, uri, maker.o.Prefix, func(o *Options) { o.NoDeclare = true })
	handled := make(chan string, 10)
	b.testConsumer(t, nil, func(_ context.Context, d Delivery) error { handled <- d.Message.ID; return nil })
	publishTx(t, b, "before")
	require.Equal(t, "before", next(t, handled))

	u, err := url.Parse(uri)
	require.NoError(t, err)
	setRights(t, uri, maker.o.Prefix, "", `^(?!PREFIX\.(half|topics))`, `^(?!PREFIX\.q\.c$)`)
	evalRabbitMQ(t, fmt.Sprintf(`rabbit_networking:close_all_user_connections(<<"%s">>, "rights have changed").`, u.User.Username()))
	half := holdfast.Half{TxID: "t", Group: "g", Messages: messages("t", "order.placed", 1)}
	require.ErrorContains(t, b.PublishHalf(ctx, half), "write permission for exchange "+maker.o.Prefix+".half")
	require.ErrorContains(t, b.PublishMessages(ctx, "g", "t", half.Messages), "write permission for exchange "+maker.o.Prefix+".topics")
	publishTx(t, maker, "meanwhile")
	untilWaiting(t, maker, "c", 1)

	setRights(t, uri, maker.o.Prefix, ".*", ".*", ".*")
	require.Equal(t, "meanwhile", next(t, handled))
	require.NoError(t, b.PublishHalf(ctx, half))
	publishTx(t, b, "after")
	require.Equal(t, "after", next(t, handled))
}

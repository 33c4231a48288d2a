package broker

import (
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
	s := stacktest.Shared(t)
	u, err := url.Parse(s.AMQPURL())
	require.NoError(t, err)
	vhost, err := url.PathUnescape(strings.TrimPrefix(u.EscapedPath(), "/"))
	require.NoError(t, err)
	if vhost == "" {
		vhost = "/"
	}
	quote := func(p string) string {
		return strings.ReplaceAll(strings.ReplaceAll(p, "PREFIX", regexp.QuoteMeta(prefix)), `\`, `\\`)
	}
	user := prefix + "-" + uuid.NewString()
	stacktest.RabbitMQ(t, s, "rabbitmqctl", "eval", fmt.Sprintf(`rabbit_auth_backend_internal:add_user(<<"%[1]s">>, <<"pw">>, <<"test">>),
rabbit_auth_backend_internal:set_permissions(<<"%[1]s">>, <<"%[2]s">>, <<"%[3]s">>, <<"%[4]s">>, <<"%[5]s">>, <<"test">>).`, user, vhost, quote(configure), quote(write), quote(read)))
	u.User = url.UserPassword(user, "pw")
	return u.String()
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

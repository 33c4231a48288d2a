package broker

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// Of what a user may not do the error names the verb, the thing, and what to do.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	s, prefix := stacktest.Shared(t), stacktest.Prefix(t)
	admin := open(t, s.AMQPURL(), prefix, nil)
	ctx := testContext(t)
	require.NoError(t, admin.DeclareGroup(ctx, "g"))
	require.NoError(t, admin.DeclareConsumer(ctx, "c", []string{"x"}))
	u, err := url.Parse(s.AMQPURL())
	require.NoError(t, err)
	vhost, err := url.PathUnescape(strings.TrimPrefix(u.EscapedPath(), "/"))
	require.NoError(t, err)
	if vhost == "" {
		vhost = "/"
	}
	n := 0
	as := func(configure, write, read string) *Broker {
		n++
		user := fmt.Sprintf("%s-%d", prefix, n)
		quote := func(p string) string {
			return strings.ReplaceAll(strings.ReplaceAll(p, "PREFIX", regexp.QuoteMeta(prefix)), `\`, `\\`)
		}
		stacktest.RabbitMQ(t, s, "rabbitmqctl", "eval", fmt.Sprintf(`rabbit_auth_backend_internal:add_user(<<"%[1]s">>, <<"pw">>, <<"test">>),
rabbit_auth_backend_internal:set_permissions(<<"%[1]s">>, <<"%[2]s">>, <<"%[3]s">>, <<"%[4]s">>, <<"%[5]s">>, <<"test">>).`, user, vhost, quote(configure), quote(write), quote(read)))
		own := *u
		own.User = url.UserPassword(user, "pw")
		return open(t, own.String(), prefix, nil)
	}
	says := func(err error, right string) {
		t.Helper()
		require.ErrorContains(t, err, right)
		require.ErrorContains(t, err, "`holdfast topology permissions`")
		require.NotContains(t, err.Error(), "\n", "one sentence")
	}

	_, err = as("", ".*", `^(?!PREFIX\.q\.c$)`).c.Subs.Subscribe(ctx, admin.ConsumerQueue("c"), 1)
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

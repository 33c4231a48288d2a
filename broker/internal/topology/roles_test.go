package topology

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// A pattern of topics lets through what a binding with one of them gets, and nothing else.
func TestTopicsPattern(t *testing.T) {
	all := []string{"", "order", "orders", "order.placed", "order.placed.late", "orderxplaced", "a.order", "a.b", "a.x.b", "a.x.y.b", "x.a.b", "b", "a+b"}
	for _, topics := range [][]string{{"order.placed"}, {"order.*"}, {"order.#"}, {"#"}, {"#.b"}, {"a.#.b"}, {"*.b", "order"}, {"#.#"}, {"a+b"}} {
		pattern := regexp.MustCompile(topicsPattern(topics))
		for _, topic := range all {
			require.Equal(t, wire.Listens(topics, topic), pattern.MatchString(topic), "%v: %q: %s", topics, topic, pattern)
		}
	}
}

func TestGrant(t *testing.T) {
	n := wire.Names{Prefix: "a.b", Halves: 1}
	for _, a := range []Access{{Role: "boss"}, {Role: RoleWorker, NoDeclare: true}, {Role: RoleConsumer}, {Role: RoleParticipant, Consumers: []string{"x"}},
		{Role: RoleProducer, Groups: []string{"g"}}, {Role: RoleForeign}, {Role: RoleKeeper}, {Role: RoleConsumer, Consumers: []string{"x|y"}}, {Role: RoleKeeper, Groups: []string{"g|.*"}}} {
		_, err := a.Grant(n)
		require.ErrorIs(t, err, holdfast.ErrInvalid, a)
	}
	g, err := Access{Role: RoleConsumer, User: "it's", Consumers: []string{"x.y", "z"}, NoDeclare: true, Answers: true}.Grant(n)
	require.NoError(t, err)
	require.Equal(t, []string{`rabbitmqctl set_permissions -p '/shop' 'it'\''s' '^a\.b\.status\..*$' ` +
		`'^(a\.b\.(queues|dead|retry\..*|alerts|status|status\..*)|amq\.default)$' ` +
		`'^a\.b\.((q|alone)\.(x\.y|z)|hook\.@(x\.y|z|x\.y,z)|pauses|status|status\..*)$'`}, g.Commands("/shop"))
	// Who binds consumers' queues has to read the keys: a worker those of all, a consumer its own.
	for _, c := range []struct {
		access      Access
		write, read string
	}{
		{Access{Role: RoleWorker, Topics: []string{"order.#"}}, `^order(\..*)?$`, ".*"},
		{Access{Role: RoleWorker, NoDeclare: true, Groups: []string{"g"}, Topics: []string{"order.#"}}, `^order(\..*)?$`, "^$"},
		{Access{Role: RoleConsumer, Consumers: []string{"c"}, Topics: []string{"order.*", "x"}}, "^$", `^(order\.\*|x)(\.compensated)?$`},
		{Access{Role: RoleParticipant, Participants: []string{"c"}, Topics: []string{"x"}}, "^$", `^x(\.compensated)?$`},
		{Access{Role: RoleConsumer, Consumers: []string{"c"}, NoDeclare: true, Topics: []string{"x"}}, "", ""},
		{Access{Role: RoleConsumer, Consumers: []string{"c"}}, "", ""},
	} {
		got, err := c.access.Grant(n)
		require.NoError(t, err)
		require.Equal(t, []string{c.write, c.read}, []string{got.Topics, got.TopicsRead}, c.access)
		require.Equal(t, c.read != "", got.Exchange != "")
	}
	read := regexp.MustCompile(g.Read)
	for name, may := range map[string]bool{"a.b.q.x.y": true, "a.b.q.xxy": false, "aXb.q.z": false, "a.b.q.z.more": false, "a.b.dead": false} {
		require.Equal(t, may, read.MatchString(name), name)
	}
}

package topology

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
)

// A Hook's name and keys, and what a shell makes of them.
func TestHooks(t *testing.T) {
	for _, c := range []struct {
		h    Hook
		name string
		keys []string
	}{
		{HookOf("orders", []string{"a", "b"}, false), "orders", []string{"consumer.a", "consumer.b", "group.orders"}},
		{HookOf("", []string{"a", "b.c"}, false), "@a,b.c", []string{"consumer.a", "consumer.b.c"}},
		{HookOf("", []string{"a"}, true), "@a*", []string{"consumer.a", "all"}},
		{HookOf("orders", nil, true), "orders", []string{"group.orders", "all"}},
	} {
		require.Equal(t, Hook{c.name, c.keys}, c.h)
		require.NoError(t, c.h.Check())
		text := strings.TrimSuffix(strings.TrimPrefix(Wanted{Hooks: []Hook{c.h}}.Flags(), "--hook '"), "'")
		name, keys, _ := strings.Cut(text, "=")
		require.Equal(t, c.h, Hook{name, strings.Split(keys, ",")})
	}
	long := HookOf("", []string{strings.Repeat("a", holdfast.MaxName), "b"}, false)
	require.NoError(t, long.Check())
	require.LessOrEqual(t, len(long.Name), maxAlertName)
	for _, bad := range []string{"orders", "orders=", "=all", "orders=everything", "a b=all", "orders=group.", "orders=none", "orders=consumer.a b"} {
		name, keys, _ := strings.Cut(bad, "=")
		require.ErrorIs(t, Hook{name, strings.Split(keys, ",")}.Check(), holdfast.ErrInvalid, bad)
	}
}

package broker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
)

// A Hook's name and keys, and what a shell makes of them.
func TestHooks(t *testing.T) {
	for _, c := range []struct {
		h    hook
		name string
		keys []string
	}{
		{hookOf("orders", []string{"a", "b"}, false), "orders", []string{"consumer.a", "consumer.b", "group.orders"}},
		{hookOf("", []string{"a", "b.c"}, false), "@a,b.c", []string{"consumer.a", "consumer.b.c"}},
		{hookOf("", []string{"a"}, true), "@a*", []string{"consumer.a", "all"}},
		{hookOf("orders", nil, true), "orders", []string{"group.orders", "all"}},
	} {
		require.Equal(t, hook{c.name, c.keys}, c.h)
		require.NoError(t, c.h.check())
		text := strings.TrimSuffix(strings.TrimPrefix(wanted{Hooks: []hook{c.h}}.Flags(), "--hook '"), "'")
		again, err := parseHook(text)
		require.NoError(t, err)
		require.Equal(t, c.h, again)
	}
	long := hookOf("", []string{strings.Repeat("a", holdfast.MaxName), "b"}, false)
	require.NoError(t, long.check())
	require.LessOrEqual(t, len(long.Name), maxAlertName)
	for _, bad := range []string{"orders", "orders=", "=all", "orders=everything", "a b=all", "orders=group.", "orders=none", "orders=consumer.a b"} {
		h, err := parseHook(bad)
		if err == nil {
			err = h.check()
		}
		require.ErrorIs(t, err, holdfast.ErrInvalid, bad)
	}
}

package broker

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/stretchr/testify/require"
)

func TestMemory(t *testing.T) {
	m, now := newMemory(), time.Now()
	require.True(t, m.note(now, wire.Bound{Name: "a", Topics: []string{"x", "x"}}))
	require.False(t, m.note(now.Add(time.Hour), wire.Bound{Name: "a", Topics: []string{"x"}}))
	require.False(t, m.note(now.Add(time.Hour), wire.Bound{Name: "a", Topics: []string{"y"}, Age: 2 * time.Hour}), "older news")
	require.False(t, m.note(now, wire.Bound{Name: "", Topics: []string{"x"}}, wire.Bound{Name: "b"}, wire.Bound{Name: "c", Topics: []string{strings.Repeat("x", 300)}}))
	require.Equal(t, []wire.Bound{{Name: "a", Topics: []string{"x"}, Age: time.Hour}}, m.all(now.Add(2*time.Hour)))
	for i := range maxRemembered + 10 {
		m.note(now, wire.Bound{Name: strconv.Itoa(i), Topics: []string{"x"}})
	}
	require.Len(t, m.all(now), maxRemembered)
	require.Equal(t, []wire.Bound{{Name: "a", Topics: []string{"x", "y"}}, {Name: "b"}}, m.unknown([]wire.Bound{{Name: "a", Topics: []string{"x"}}, {Name: "a", Topics: []string{"x", "y"}}, {Name: "b"}}))
	m.forget(func(name string) bool { return name == "a" })
	require.Len(t, m.all(now), 1)
}

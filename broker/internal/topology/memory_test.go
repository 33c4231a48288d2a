package topology

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/stretchr/testify/require"
)

func TestMemory(t *testing.T) {
	m, now := NewMemory(), time.Now()
	require.True(t, m.Note(now, wire.Bound{Name: "a", Topics: []string{"x", "x"}}))
	require.False(t, m.Note(now.Add(time.Hour), wire.Bound{Name: "a", Topics: []string{"x"}}))
	require.False(t, m.Note(now.Add(time.Hour), wire.Bound{Name: "a", Topics: []string{"y"}, Age: 2 * time.Hour}), "older news")
	require.False(t, m.Note(now, wire.Bound{Name: "", Topics: []string{"x"}}, wire.Bound{Name: "b"}, wire.Bound{Name: "c", Topics: []string{strings.Repeat("x", 300)}}))
	require.Equal(t, []wire.Bound{{Name: "a", Topics: []string{"x"}, Age: time.Hour}}, m.All(now.Add(2*time.Hour)))
	for i := range MaxRemembered + 10 {
		m.Note(now, wire.Bound{Name: strconv.Itoa(i), Topics: []string{"x"}})
	}
	require.Len(t, m.All(now), MaxRemembered)
	require.Equal(t, []wire.Bound{{Name: "a", Topics: []string{"x", "y"}}, {Name: "b"}}, m.Unknown([]wire.Bound{{Name: "a", Topics: []string{"x"}}, {Name: "a", Topics: []string{"x", "y"}}, {Name: "b"}}))
	m.Forget(func(name string) bool { return name == "a" })
	require.Len(t, m.All(now), 1)
}
